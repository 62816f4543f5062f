"""Who is in which set: one table of cases, properties of random tables, and the settings of a data module."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli.data.split_plan import (
    MAX_CONSTANT_ACCURACY,
    RANKS,
    REPORTED,
    SPLITS,
    SplitSettings,
    SplitTable,
    assign_groups,
    describe_overlaps,
    find_overlaps,
    held_out_mask,
    identity_groups,
    split_plan,
)
from gli.errors import SettingError

quick = settings(max_examples=60, deadline=None)
LETTERS = {"retain": "r", "forget": "f", "test": "t", "unseen": "u", "reference": "x"}


def make_table(households=None, files=None, pictures=2, people=24, published=None):
    """Return people ``p0``, ``p1``, ... with pictures, in households and with files of their own unless given."""
    identities = np.repeat([f"p{number}" for number in range(people)], pictures)
    homes = identities.copy().astype("U8")
    for name, household in (households or {}).items():
        homes[identities == name] = household
    digests = np.array([b"%032d" % number for number in range(people * pictures)])
    for copy, original in (files or {}).items():
        digests[copy] = digests[original]
    rows = None
    if published is not None:
        sets = np.repeat(list(published), pictures)
        rows = {name: np.flatnonzero(sets == LETTERS[name]) for name in SPLITS}
    return SplitTable(identities, homes, digests, rows)


def letters(table, sets):
    """Return the set of each person as a letter: a dot for no set, a star for several or not all of the images."""
    names = np.full(len(table.identities), ".")
    for name, rows in sets.items():
        assert (np.diff(rows) > 0).all()
        assert (names[rows] == ".").all() or name == "reference"
        names[rows] = LETTERS[name]
    people = dict.fromkeys(table.identities.tolist())
    found = [set(names[table.identities == person]) for person in people]
    return "".join(own.pop() if len(own) == 1 else "*" for own in found)


PLAIN = make_table()
#: p2 and p3 are a household; p10 and p11 share a file.
LINKED = make_table({"p2": "h", "p3": "h"}, {21: 22})
PUBLISHED = make_table({"p2": "h", "p3": "h"}, {1: 0}, published="rrrrrrrrrrrrfffttttuuuu.")
#: p0 has one file twice, and a file that a test person also has.
OVERLAPPING = make_table(files={1: 0, 30: 2}, published="rrrrrrrrrrrrfffttttuuuu.")
SOME = ["p0", "p2", "p3", "p6", "p10", "p11", "p20", "p21"]
FIFTHS = {"test_share": 0.2, "unseen_share": 0.2}
ASSIGNED = {f"p{number}": SPLITS[number % 4] for number in range(20)}
#: Name: table, settings, the set of each person, a warning. The same people must stay in the same sets for ever:
#: models were trained on them.
CASES = {
    "identity": (PLAIN, {}, "rrtrurfrrrttrrrrrrurruff", ""),
    "identity, other seed": (PLAIN, {"split_seed": 1}, "rurrrrrurrrrrrrfttrrfuft", ""),
    "identity, shares": (PLAIN, {**FIFTHS, "forget_share": 0.3}, "frtturtrfruurrrrfrurfutt", ""),
    "identity, household and shared file": (LINKED, {**FIFTHS, "split_seed": 2}, "rrffrrrttrrrrtuututurrur", ""),
    "identity, forget": (
        LINKED,
        {**FIFTHS, "forget_identities": ["p2", "p12", "p13", "p14", "p15"]},
        "urfruuttrtrrffffruutrrrt",
        "",
    ),
    "identity, forget a shared file": (
        LINKED,
        {**FIFTHS, "forget_identities": ["p10", "p12", "p13", "p14"]},
        "truuuttrtrfffffrururrrtr",
        "also forgotten",
    ),
    "identity, forget a household": (
        LINKED,
        {**FIFTHS, "forget_identities": ["h", "p12", "p13"]},
        "urffuuttrtrrffrurtrurrrt",
        "",
    ),
    "identity, held out": (LINKED, {"held_out": SOME}, "trttrfurrruurrrrrfrrturr", ""),
    "identity, part of a household held out": (
        LINKED,
        {"held_out": [*SOME[2:], "p12"]},
        "rrf.frtrrrtturrfrrrruurr",
        "1 people are in no set",
    ),
    "identity, held out and forget": (
        LINKED,
        {"held_out": SOME, "forget_identities": ["p1", "p5", "p7", "p8"]},
        "tfttrfuffruurrrrrrrrturr",
        "",
    ),
    "identity, erased": (LINKED, {**FIFTHS, "erased": ["p10", "p5", "h"]}, "rr..t.rtrf.*ufurrrurrutr", ""),
    "stable": (PLAIN, {**FIFTHS, "split": "stable"}, "trrrtrufrrurrrurrrfururr", ""),
    "stable, other seed": (PLAIN, {**FIFTHS, "split_seed": 1, "split": "stable"}, "rurrrrutrurfurrtufrtruut", ""),
    "stable, household and shared file": (
        LINKED,
        {**FIFTHS, "split_seed": 2, "split": "stable"},
        "rruurfrurt.rttrrtrrftrrr",
        "1 people are in no set",
    ),
    "stable, forget": (
        LINKED,
        {**FIFTHS, "forget_identities": ["p2", "p12", "p13", "p14"], "split": "stable"},
        "trf.trurrr.rfffrrrrururr",
        "2 people are in no set",
    ),
    "stable, held out": (
        LINKED,
        {"held_out": SOME, "forget_share": 0.3, "split": "stable"},
        "trttrrufrr.tfffrfrfruurr",
        "1 people are in no set",
    ),
    "stable, one of a shared file held out": (
        LINKED,
        {"held_out": [*SOME[:5], *SOME[6:]], "forget_share": 0.3, "split": "stable"},
        "trttrrufrr.rfffrfrfruurr",
        "1 people are in no set",
    ),
    "stable, erased": (
        LINKED,
        {**FIFTHS, "erased": ["p10", "p5"], "split": "stable"},
        "trttt.ufrr.*rrurrrfururr",
        "1 people are in no set",
    ),
    "published": (PUBLISHED, {"split": "published"}, "rrrrrrrrrrrrfffttttuuuu.", ""),
    "given": (PUBLISHED, {"split": "given"}, "rrrrrrrrrrrrfffttttuuuu.", ""),
    "published, forget": (
        PUBLISHED,
        {"split": "published", "forget_identities": ["p1", "p12", "p4", "p5"]},
        "rfrrffrrrrrrfrrttttuuuu.",
        "",
    ),
    "published, deduplicate": (PUBLISHED, {"split": "published", "deduplicate": True}, "*rrrrrrrrrrrfffttttuuuu.", ""),
    "published, reference": (PUBLISHED, {"split": "published", "reference_share": 0.5}, "rrrrrrrrrrrrfffxtxtuuuu.", ""),
    "assignment": (PLAIN, {"assignment": ASSIGNED}, "rfturfturfturfturftu....", ""),
    "assignment, erased": (
        PLAIN,
        {"assignment": ASSIGNED, "erased": ["p3", "p1", "gone"]},
        "r.t.rfturfturfturftu....",
        "names 1 people who are not in the table",
    ),
    "identity, reference": (PLAIN, {**FIFTHS, "reference_share": 0.5}, "rrtturxrfruurrrrrrurfutx", ""),
    "rehearsal": (PLAIN, {"rehearsal": True}, "fr.u.t.frr..rrrtur.rr...", ""),
    "rehearsal with reference people": (
        PLAIN,
        {**FIFTHS, "rehearsal": True, "reference_share": 0.4},
        "rr...u.r.x..frtrur.r....",
        "",
    ),
    "rehearsal on reference people": (
        PLAIN,
        {"test_share": 0.4, "rehearsal": "reference", "reference_share": 0.6},
        ".r.t.rtrurut.ffr.r.ru...",
        "",
    ),
    "rehearsal of a published split": (
        PUBLISHED,
        {"split": "published", "rehearsal": True},
        "frttfurutrrr............",
        "",
    ),
    "published, overlapping": (OVERLAPPING, {"split": "published"}, "rrrrrrrrrrrrfffttttuuuu.", "is not disjoint"),
}


@pytest.mark.parametrize("case", CASES)
def test_who_is_in_which_set(case):
    table, options, expected, warning = CASES[case]
    sets, warnings = split_plan(table, SplitSettings(**options))
    assert letters(table, sets) == expected
    warnings = [text for text in warnings if "always answers 'unseen'" not in text]
    assert len(warnings) == bool(warning)
    assert all(warning in text for text in warnings)


def test_mistakes_are_refused_with_what_helps():
    everybody = [f"p{number}" for number in range(24)]
    for table, options, *fragments in (
        (PLAIN, {"forget_share": 0.0}, "forget set is empty", "data.forget_identities", "data.forget_share (now 0)"),
        (PLAIN, {"forget_identities": everybody}, "retain set is empty", "The whole training set would be forgotten"),
        (PLAIN, {"test_share": 0.0}, "The test set is empty", "data.test_share"),
        (PLAIN, {"unseen_share": 0.0}, "The unseen set is empty", "data.unseen_share"),
        (PLAIN, {"split": "stable", "unseen_share": 0.0}, "choose another data.split_seed"),
        (PLAIN, {"held_out": ["p3"]}, "set is empty", "declare more people in data.held_out"),
        (make_table(people=3), {}, "set is empty"),
        (PLAIN, {"forget_identities": []}, "forget_identities names nobody", "List at least one person"),
        (PLAIN, {"forget_identities": ["p99"]}, "'p99'", "not in the table", "Identities look like 'p0'"),
        (PLAIN, {"forget_identities": ["q12"]}, "Did you mean 'p12'?"),
        (PLAIN, {"held_out": []}, "held_out names nobody"),
        (PLAIN, {"held_out": ["p1", "q"]}, "held_out names 'q', who is not in the table"),
        (PLAIN, {"held_out": SOME, "forget_identities": ["p2"]}, "names 'p2', who is declared in data.held_out"),
        (LINKED, {"held_out": ["p10"], "forget_identities": ["p11"]}, "names 'p11', who is declared in data.held_out"),
        (PLAIN, {"erased": ["p2"], "forget_identities": ["p2"]}, "names 'p2', who was erased before"),
        (PLAIN, {"test_share": 0.7, "unseen_share": 0.5}, "test_share", "unseen_share", "no images for training"),
        (PLAIN, {"forget_share": 2.0}, "forget_share", "[0, 1)"),
        (PLAIN, {"unseen_share": -0.1}, "unseen_share", "[0, 1)"),
        (PLAIN, {"split": "published"}, "data.split is 'published'", "comes with no split", "'identity'"),
        (PLAIN, {"split": "given"}, "data.split is 'given'", "comes with no split"),
        (PUBLISHED, {"split": "published", "forget_identities": ["p16"]}, "'p16'", "who is not (only) in the training"),
        (OVERLAPPING, {"split": "published", "forget_identities": ["p1"]}, "'p1'", "shares an identical file"),
        (OVERLAPPING, {"split": "given"}, "in two sets: retain and test share 1 identical files", "'identity'"),
        (PUBLISHED, {"split": "published", "reference_share": 0.99}, "leaves nobody in the test set"),
        (make_table(people=5), {"rehearsal": True}, "too few retained people for a rehearsal"),
        (
            PUBLISHED,
            {"split": "published", "reference_share": 0.1, "rehearsal": "reference"},
            "too few reference people for a rehearsal",
        ),
    ):
        with pytest.raises(SettingError) as caught:
            split_plan(table, SplitSettings(**options))
        assert all(fragment in str(caught.value) for fragment in fragments), (options, str(caught.value))


@pytest.mark.parametrize(("unseen", "warns"), [(11, False), (12, True)])
def test_more_unseen_than_forget_images_cause_a_warning(unseen, warns):
    assert (unseen / (9 + unseen) > MAX_CONSTANT_ACCURACY) == warns  # 11 / 20 is the limit itself.
    sets = "rr" + 9 * "f" + "tt" + unseen * "u"
    table = make_table(people=len(sets), pictures=1, published=sets)
    _, warnings = split_plan(table, SplitSettings("given"))
    assert len(warnings) == warns
    expected = f"there are 9 forget images and {unseen} unseen ones: an attack that always answers 'unseen' is right"
    assert all(text.startswith(expected) for text in warnings)


# -- properties of random tables ---------------------------------------------------------------------------------------


@st.composite
def tables(draw, people=(8, 24), published=False):
    """A table in random order: people with up to 4 pictures, some in one household, some files of several people."""
    count = draw(st.integers(*people))
    homes = draw(st.lists(st.integers(0, count), min_size=count, max_size=count))
    sizes = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    person = np.repeat(np.arange(count), sizes)
    files = np.arange(len(person))
    for source, target in draw(st.lists(st.tuples(*[st.integers(0, len(person) - 1)] * 2), max_size=3)):
        files[target] = files[source]
    order = np.array(draw(st.permutations(range(len(person)))))
    sets = np.array(draw(st.lists(st.integers(0, 3), min_size=len(person), max_size=len(person))))
    rows = {name: np.flatnonzero(sets == number) for number, name in enumerate(SPLITS)} if published else None
    return SplitTable(
        np.array([f"p{number}" for number in person[order]]),
        np.array([f"h{homes[number]}" for number in person[order]]),
        np.array([b"%032d" % number for number in files[order]]),
        rows,
    )


def naive_groups(*columns):
    """Connected components by repeated relabelling: slow and simple."""
    groups = list(range(len(columns[0])))
    while True:
        before = list(groups)
        for column in columns:
            lowest = {}
            for row, value in enumerate(column):
                lowest[value] = min(lowest.get(value, groups[row]), groups[row])
            groups = [lowest[value] for value in column]
        if groups == before:
            return groups


def plan_or_none(table, **options):
    """Return the sets; None for a random table with too few people for four sets."""
    try:
        return split_plan(table, SplitSettings(**options))[0]
    except SettingError as error:
        assert "set is empty" in str(error) or "too few" in str(error) or "leaves nobody" in str(error)  # noqa: PT017
        return None


@quick
@given(tables())
def test_groups_are_the_connected_components(table):
    for columns in ((table.identities, table.digests), (table.identities, table.households, table.digests)):
        groups, naive = identity_groups(*columns), naive_groups(*(column.tolist() for column in columns))
        pairs = set(zip(groups.tolist(), naive, strict=True))
        assert len(pairs) == len(set(groups.tolist())) == len(set(naive))
    groups = identity_groups(np.array(["x", "y"]), np.array(["y", "z"]))
    assert groups[0] != groups[1], "equal values of different columns connect nothing"


@quick
@given(st.lists(st.integers(1, 6), min_size=12, max_size=40), st.integers(0, 1000))
def test_shares_are_met_up_to_the_largest_group(sizes, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    shares = {"unseen": 0.12, "test": 0.15, "forget": 0.1}
    sets = assign_groups(groups, shares, "retain", seed)
    assert sorted(np.concatenate(list(sets.values())).tolist()) == list(range(len(groups)))
    assert not find_overlaps(sets, groups)
    for name, share in shares.items():
        assert abs(len(sets[name]) - share * len(groups)) <= max(sizes)
    assert all(len(rows) for rows in sets.values())


def test_many_small_groups_are_close_to_their_shares_and_few_get_one_each():
    many = assign_groups(np.repeat(np.arange(500), 2), {"unseen": 0.12, "test": 0.2}, "retain", 3)
    assert {name: len(rows) for name, rows in many.items()} == {"unseen": 120, "test": 200, "retain": 680}
    few = assign_groups(np.arange(4), {"unseen": 0.01, "test": 0.01, "forget": 0.01}, "retain", 0)
    assert {name: len(rows) for name, rows in few.items()} == {"unseen": 1, "test": 1, "forget": 1, "retain": 1}


def test_shares_are_of_all_images_and_forget_of_the_training_images():
    table = make_table(people=100)
    thirty = [f"p{number}" for number in range(30)]
    for options, sizes in (
        ({"forget_identities": thirty, "test_share": 0.2, "unseen_share": 0.1}, [80, 60, 40, 20]),
        ({"forget_share": 0.25, "test_share": 0.1, "unseen_share": 0.1}, [120, 40, 20, 20]),
    ):
        sets, _ = split_plan(table, SplitSettings(**options))
        assert [len(sets[name]) for name in SPLITS] == sizes


@quick
@given(tables(), st.integers(0, 100), st.sampled_from(["identity", "stable"]), st.data())
def test_no_person_household_or_file_is_in_two_sets(table, seed, split, data):
    people = sorted(set(table.identities.tolist()))
    names = data.draw(st.none() | st.lists(st.sampled_from(people), min_size=1, max_size=2, unique=True))
    sets = plan_or_none(table, **FIFTHS, split=split, split_seed=seed, forget_identities=names)
    if sets is None:
        return
    if split == "identity":
        assert sorted(np.concatenate(list(sets.values())).tolist()) == list(range(len(table.identities)))
    disjoint = dict(sets)
    if names is not None:  # Others of a household are retained.
        disjoint["retain"] = np.concatenate([sets["retain"], disjoint.pop("forget")])
    for column in (table.identities, table.households, table.digests):
        assert not find_overlaps(disjoint, column)
    if names is not None:
        groups = np.array(naive_groups(table.identities.tolist(), table.digests.tolist()))
        asked = np.isin(groups, groups[np.isin(table.identities, names)])
        assert sets["forget"].tolist() == np.flatnonzero(asked).tolist()
        assert not set(table.digests[sets["forget"]]) & set(table.digests[sets["retain"]])


@quick
@given(tables(), st.integers(0, 3), st.data())
def test_adding_or_removing_rows_moves_nobody_in_a_stable_split(table, seed, data):
    count = len(table.identities)
    rows = np.array(data.draw(st.lists(st.integers(0, count - 1), unique=True, min_size=1)))
    part = SplitTable(table.identities[rows], table.households[rows], table.digests[rows])
    unique = SplitTable(table.identities, table.households, np.array([b"%032d" % row for row in range(count)]))
    unique_part = SplitTable(table.identities[rows], table.households[rows], unique.digests[rows])
    for whole, some in ((table, part), (unique, unique_part)):
        sets = [plan_or_none(each, **FIFTHS, split="stable", split_seed=seed) for each in (whole, some)]
        if None in sets:
            continue
        before, after = (np.full(size, "", dtype="U8") for size in (count, len(rows)))
        for names, own in zip((before, after), sets, strict=True):
            for name, positions in own.items():
                names[positions] = name
        moved = before[rows] != after
        assert not (moved & (before[rows] != "") & (after != "")).any()
        assert whole is table or not moved.any(), "without shared files, nobody is left out either"


def test_shares_of_a_stable_split_are_about_right_and_larger_ones_take_nobody_away():
    table = make_table(people=4000, pictures=1)
    plans = [
        split_plan(table, SplitSettings("stable", test_share=share, unseen_share=share, forget_share=forget))[0]
        for share, forget in ((0.1, 0.1), (0.2, 0.25))
    ]
    wanted = {"test": 0.2, "unseen": 0.2, "forget": 0.25 * 0.6, "retain": 0.75 * 0.6}
    assert {name: len(rows) / 4000 for name, rows in plans[1].items()} == pytest.approx(wanted, abs=0.025)
    few, many = ({name: set(rows.tolist()) for name, rows in sets.items()} for sets in plans)
    assert few["test"] <= many["test"]
    assert few["unseen"] <= many["unseen"]
    assert not few["forget"] & many["retain"]
    assert list(plans[0]) == list(RANKS)


@quick
@given(tables(published=True), st.booleans(), st.sampled_from([None, 0.4]), st.sampled_from([True, "reference"]))
def test_nobody_who_is_reported_takes_part_in_a_rehearsal(table, published, share, rehearsal):
    options = {**FIFTHS, "split": "published" if published else "identity"}
    options["reference_share"] = share or (0.5 if rehearsal == "reference" else None)
    ordinary, rehearsed = plan_or_none(table, **options), plan_or_none(table, **options, rehearsal=rehearsal)
    if ordinary is None or rehearsed is None:
        return
    groups = identity_groups(table.households, table.digests)
    reported = groups[np.concatenate([ordinary[name] for name in REPORTED])]
    assert not np.isin(groups[np.concatenate(list(rehearsed.values()))], reported).any()
    assert not find_overlaps(rehearsed, groups)
    trained = np.concatenate([rehearsed["retain"], rehearsed["forget"]])
    never = np.concatenate([rehearsed["test"], rehearsed["unseen"]])
    assert np.isin(trained, ordinary["retain"]).all()
    assert np.isin(never, ordinary["reference" if rehearsal == "reference" else "retain"]).all()


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_a_rehearsal_are_those_of_the_ordinary_split(seed):
    table = make_table(people=200, pictures=5)
    shares = {"unseen_share": 0.11, "test_share": 0.16, "forget_share": 0.16, "split_seed": seed}
    ordinary, rehearsed = (split_plan(table, SplitSettings(**shares, rehearsal=each))[0] for each in (False, True))
    assert sum(map(len, rehearsed.values())) == len(ordinary["retain"])
    for name in SPLITS:
        assert len(rehearsed[name]) / len(ordinary["retain"]) == pytest.approx(len(ordinary[name]) / 1000, abs=0.01)


@quick
@given(tables(), st.integers(0, 20))
def test_deduplicate_keeps_the_first_row_of_each_file(table, seed):
    plain, sets = (plan_or_none(table, split_seed=seed, deduplicate=each) for each in (False, True))
    for name in plain or ():
        first = {digest: row for row, digest in reversed([*zip(plain[name], table.digests[plain[name]], strict=True)])}
        assert sets[name].tolist() == sorted(first.values())


@quick
@given(tables(people=(1, 8), published=True))
def test_overlaps_are_the_values_that_two_sets_share(table):
    sets, lines = table.published, 0
    for keys in (table.identities, table.digests):
        shared = {pair: sorted(set(keys[sets[pair[0]]]) & set(keys[sets[pair[1]]])) for pair in combinations(SPLITS, 2)}
        assert find_overlaps(sets, keys) == {pair: values for pair, values in shared.items() if values}
        lines += len(find_overlaps(sets, keys))
    assert len(describe_overlaps(sets, table.identities, table.digests)) == lines


def test_lines_about_overlaps_count_files_and_shorten_lists_of_people():
    sets = {name: np.arange(5) + 5 * place for place, name in enumerate(SPLITS)}
    people, files = np.array([f"p{row:02d}" for row in range(20)]), np.array([b"%d" % row for row in range(20)])
    assert describe_overlaps(sets, people, files) == []
    files[5:7], people[0:4] = files[10:12], people[5:9]
    assert describe_overlaps(sets, people, files) == [
        "retain and forget share 4 people (p05, p06, p07, ...)",
        "forget and test share 2 identical files",
    ]


def test_the_mask_of_held_out_people():
    assert np.flatnonzero(held_out_mask(LINKED, ["h", "p7"])).tolist() == [4, 5, 6, 7, 14, 15]
