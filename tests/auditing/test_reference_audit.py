"""One audit, one answer: all entrances call it, and groups that differ are not mistaken for people trained on."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gli
from gli.api.evaluate import Evaluated
from gli.auditing import UPRIGHT, run_audit
from gli.auditing.contents import contents_of_runs
from gli.auditing.record import Record, margins_by_view, margins_of, write_people, write_record
from gli.auditing.reference_audit import DISTANCE, MARGINS_ALONE, RMIA, audit
from gli.auditing.run_audit import audit_run
from gli.auditing.verdict import TOGETHER
from gli.auditing.views import margins_in_views
from gli.data.tasks import MultiClass
from gli.erasure.evidence import Models, Outputs, gather_evidence
from gli.errors import DataError

SETS = ("forget", "test", "unseen")
PEOPLE, REFERENCES, DRAWS, COMPARED = 30, 4, 20, 6
#: How much easier the forgotten are than the never seen, and how much of the original's memory is left.
SETTINGS = list(product((0.0, 0.75, 1.5), (0.0, 0.5, 1.0)))
TRANSPOSED = "margin@transposed"
VIEWS = {UPRIGHT, "transposed", TOGETHER, DISTANCE}
NAMES = {name: np.array([f"{name}{person:02d}" for person in range(PEOPLE)]) for name in SETS}


def simulate(difference: float, memory: float, seed: int) -> list[Record]:
    """Return records of the unlearned model, of its original, and of the references; one image for each person.

    Photographs are shown upright and transposed.
    """
    generator = np.random.default_rng(seed)
    difficulty = {name: 2 * generator.normal(size=PEOPLE) for name in SETS}
    difficulty["forget"] += difference
    records = []
    for number, remembered in enumerate((memory, 1.0, *[0.0] * REFERENCES)):
        margins = {name: difficulty[name] + 0.7 * generator.normal(size=PEOPLE) for name in SETS}
        margins["forget"] += remembered
        values = {
            name: {
                "margin": value,
                TRANSPOSED: value + 0.7 * generator.normal(size=PEOPLE),
                "loss": np.logaddexp(0, -value),
                "accuracy": np.ones(PEOPLE),
            }
            for name, value in margins.items()
        }
        records.append(Record(0 if number == 1 else 3, values))
    return records


def by_runs(folder, records):
    """The entrance of ``gli audit RUN``, and of the report that is made from it."""
    unlearned, original, *references = records
    runs = [folder / str(number) for number in range(1 + REFERENCES)]
    for run, record in zip(runs, [unlearned, *references], strict=True):
        write_people(run, NAMES, {name: np.arange(PEOPLE) for name in NAMES})
        write_record(run, record)
    write_record(runs[0], original)
    return answer_of(audit_run("GLI", runs[0], runs[1:]))


def by_records(records, monkeypatch):
    """The same without files, which take most of the time."""
    original = records[1]
    records = {Path(str(number)): record for number, record in enumerate([records[0], *records[2:]])}
    monkeypatch.setattr(run_audit, "read_people", lambda run: NAMES)
    monkeypatch.setattr(
        run_audit,
        "read_model",
        lambda run, iteration: (record := original if iteration == 0 else records[run], None, margins_of(record)),
    )
    return answer_of(audit_run("GLI", Path("0"), list(records)[1:]))


def answer_of(result):
    (contents,) = contents_of_runs("data", [result])["runs"]
    assert contents["attack"].startswith(RMIA)
    assert contents["views"].keys() == VIEWS
    assert contents["auc_person"]["value"] == result.audit.attack.people.value
    return contents["auc_person"]["value"], contents["verdict"], contents["sentence"]


def in_python(records):
    """The entrance of ``gli.audit`` and ``gli.forget``."""
    unlearned, original, *references = records
    result = Evaluated(unlearned, NAMES, {}).audited(original, references, margin=0.1)
    assert result.views.keys() == VIEWS
    return result.attack.people.value, result.verdict.answer, result.verdict.sentence


def by_erasure(records):
    """The entrance of ``gli erase run`` and ``gli erase rehearse``."""

    def models(name):
        numbers = np.arange(PEOPLE)
        outputs = []
        for columns in (record.values[name] for record in records):
            margin, hit, transposed = (columns[column][:, None] for column in ("margin", "accuracy", TRANSPOSED))
            outputs.append(Outputs(margin, hit, numbers, numbers % 2, {"transposed": transposed}))
        return Models(outputs[1], outputs[0], outputs[2:])

    forget, test, unseen = map(models, SETS)
    evidence = gather_evidence(forget, None, unseen, test, 0.1, 0.05, False, ("no", "yes"))
    assert evidence.attack.startswith(RMIA)
    finding = evidence.findings[0]
    return finding.value, finding.answer, finding.sentence.partition(" Memory of these photographs")[0]


def test_three_entrances_give_one_answer(tmp_path, monkeypatch):
    """The 180 draws by which the difference between the entrances was found, 54 of them in all entrances."""
    areas = {setting: [] for setting in SETTINGS}
    for setting, seed in product(SETTINGS, range(DRAWS)):
        records = simulate(*setting, seed)
        answer = in_python(records)
        if seed < COMPARED:
            assert by_records(records, monkeypatch) == by_erasure(records) == answer
        areas[setting].append(answer[0])
    monkeypatch.undo()
    assert by_runs(tmp_path, records) == answer
    means = {setting: np.mean(values) for setting, values in areas.items()}
    for difference in (0.0, 0.75, 1.5):
        assert means[difference, 0.0] == pytest.approx(0.5, abs=0.07)  # Nothing leaked, whatever the groups.
        assert means[difference, 0.0] < means[difference, 0.5] < means[difference, 1.0]
        assert means[difference, 1.0] > 0.7


class Stored(nn.Module):
    """Return stored logits: the value of the first pixel is the number of the image, from 1."""

    def __init__(self, logits: np.ndarray) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.from_numpy(logits.astype(np.float32)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[((images[:, 0, 0, 0] * 255).round().long() - 1) % len(self.logits)]  # A view may be darker.


def test_networks_are_audited_as_their_outputs_are():
    """``gli.audit`` on networks with the outputs of a draw: the same answer as from its own records."""
    records = simulate(1.5, 1.0, 0)
    unlearned, original, *references = [
        Stored(np.stack([np.concatenate([record.values[name]["margin"] for name in SETS]), np.zeros(3 * PEOPLE)], 1))
        for record in records
    ]
    faces = {
        name: [(torch.full((3, 4, 4), PEOPLE * number + person + 1, dtype=torch.uint8), 0, NAMES[name][person])
               for person in range(PEOPLE)]
        for number, name in enumerate(SETS)
    }  # fmt: skip
    result = gli.audit(unlearned, **faces, original=original, reference=references, accelerator="cpu")

    def margins(record, model):
        upright = {name: value.astype(np.float32).astype(np.float64) for name, value in margins_of(record).items()}
        shown = {
            name: margins_in_views(model, MultiClass(("0", "1")), torch.stack([image for image, _, _ in faces[name]]),
                                   torch.zeros(PEOPLE, dtype=torch.int64))
            for name in SETS
        }  # fmt: skip
        return {UPRIGHT: upright, **{view: {name: shown[name][view] for name in SETS} for view in shown["test"]}}

    views = list(map(margins, records, [unlearned, original, *references]))
    expected = audit(NAMES, views[0], views[1], views[2:])
    assert result.views.keys() == {*views[0], TOGETHER, DISTANCE}
    assert result.attack.people.value == expected.attack.people.value
    assert result.verdict == expected.verdict
    assert result.passes == expected.passes


def test_with_too_few_references_the_margins_alone_decide_and_the_verdict_says_so():
    unlearned, original, *references = map(margins_by_view, simulate(0.0, 1.0, 0))
    for few in ([], references[:1], references[:2]):
        result = audit(NAMES, unlearned, original, few)
        assert result.attack.name.startswith(MARGINS_ALONE)
        assert "With fewer than 3 reference models" in result.verdict.sentence
        assert (result.negative is None) == (not few)
        assert np.isnan(result.memory) == (not few)
        assert np.isnan(result.a)
    assert "reference models the attacker" not in audit(NAMES, unlearned, original, references).verdict.sentence


def test_without_the_original_nothing_passes():
    """Everybody is the same to the attack, up to little noise: a pass with the original, no verdict without it."""
    unlearned, _, *references = map(margins_by_view, simulate(0.0, 0.0, 1))
    for margins in unlearned.values():
        margins["forget"] = margins["unseen"] = np.tile(np.linspace(-1, 1, 2)[:, None], (PEOPLE // 2, 1))
    alone = audit(NAMES, unlearned, None, [], margin=0.3)
    assert alone.verdict.answer == "cannot tell"
    assert "without the original nobody knows" in alone.verdict.sentence
    assert audit(NAMES, unlearned, None, references).a == 0.5


def test_outputs_that_are_not_finite_have_no_verdict_and_references_must_be_finite():
    unlearned, original, *references = map(margins_by_view, simulate(0.0, 0.0, 0))
    diverged = {**unlearned, UPRIGHT: {name: np.full_like(value, np.nan) for name, value in unlearned[UPRIGHT].items()}}
    result = audit(NAMES, diverged, original, references)
    assert (result.attack, result.verdict.answer) == (None, "cannot tell")
    with pytest.raises(DataError, match="Outputs of the reference model are not finite"):
        audit(NAMES, unlearned, original, [*references, diverged])
