from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.distributed as dist
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import gaussian_kde
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from torch import Tensor, multiprocessing

from gli.auditing.gather import PerImage
from gli.metrics.jensen_shannon import jensen_shannon_distance, loss_densities
from gli.metrics.membership_inference import membership_inference_accuracy
from gli.metrics.utility import final_score, forgetting_score
from tests.helpers.scores import summary

Floats = npt.NDArray[np.float64]
FUNCTIONS = [membership_inference_accuracy, jensen_shannon_distance]

# ---------------------------------------------------------------------------------------------------------------------
# The published protocol, written out
# ---------------------------------------------------------------------------------------------------------------------


def published_attack(forget_losses: Sequence[float], unseen_losses: Sequence[float]) -> float:
    """The benchmark's attack as it is run there, but that NumPy's global generator is put back afterwards."""
    before = np.random.get_state()
    try:
        np.random.seed(42)
        forget, unseen = [float(x) for x in forget_losses], [float(x) for x in unseen_losses]
        np.random.shuffle(forget)
        forget = forget[: len(unseen)]
        samples = np.array(unseen + forget).reshape((-1, 1))
        labels = [0] * len(unseen) + [1] * len(forget)
        splits = StratifiedShuffleSplit(n_splits=10, random_state=0)
        return float(np.mean(cross_val_score(LogisticRegression(), samples, labels, cv=splits, scoring="accuracy")))
    finally:
        np.random.set_state(before)


def published_distance(forget_losses: Sequence[float], unseen_losses: Sequence[float]) -> float:
    forget, unseen = np.array(forget_losses, dtype=float), np.array(unseen_losses, dtype=float)
    both = np.concatenate([forget, unseen])
    grid = np.linspace(both.min(), both.max(), 1000)
    densities = []
    for losses in (forget, unseen):
        density = gaussian_kde(losses)(grid)
        area = sum((grid[i + 1] - grid[i]) * (density[i + 1] + density[i]) / 2 for i in range(len(grid) - 1))
        densities.append(density / area)
    return float(jensenshannon(densities[0], densities[1]))


def losses_of(kind: str, forget: int, unseen: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Two sets of losses with the look of a classifier's."""
    generator = np.random.default_rng([seed, forget, unseen])
    if kind == "alike":
        return generator.exponential(1, forget), generator.exponential(1, unseen)
    if kind == "memorised":
        return generator.exponential(0.05, forget), generator.gamma(2, 0.7, unseen)
    if kind == "overdone":
        return generator.normal(6, 1, forget), generator.gamma(2, 0.7, unseen)
    return generator.uniform(0, 40, forget) * 1e3, generator.lognormal(0, 2, unseen)


@pytest.mark.parametrize(("forget", "unseen"), [(70, 40), (40, 70), (50, 50)], ids=["more", "fewer", "equal"])
@pytest.mark.parametrize("kind", ["alike", "memorised", "overdone", "wide"])
def test_scores_are_those_of_the_published_protocol(kind: str, forget: int, unseen: int) -> None:
    losses = losses_of(kind, forget, unseen)
    assert membership_inference_accuracy(*losses) == pytest.approx(published_attack(*losses), abs=1e-9, rel=0)
    assert jensen_shannon_distance(*losses) == pytest.approx(published_distance(*losses), abs=1e-9, rel=0)


def test_forget_losses_are_shuffled_before_they_are_cut() -> None:
    # Without the shuffle only the first 40, the small ones, would be seen by the attacker.
    _, unseen = losses_of("alike", 1, 40)
    forget = np.concatenate([np.full(40, 0.01), 3 + np.random.default_rng(0).random(400)])
    assert membership_inference_accuracy(forget, unseen) == pytest.approx(published_attack(forget, unseen), abs=1e-9)
    assert membership_inference_accuracy(forget, unseen) != membership_inference_accuracy(forget[:40], unseen)


def test_all_forget_losses_count_in_the_distance() -> None:
    forget, unseen = losses_of("alike", 90, 30)
    forget[30:] += 5
    assert jensen_shannon_distance(forget, unseen) != pytest.approx(jensen_shannon_distance(forget[:30], unseen))


def test_an_attacker_is_right_about_sets_far_apart_and_guesses_about_equal_ones() -> None:
    generator = np.random.default_rng(0)
    near, far = generator.normal(0, 1, 60), generator.normal(50, 1, 60)
    assert membership_inference_accuracy(near, far) == 1
    assert 0.3 < membership_inference_accuracy(near, generator.normal(0, 1, 60)) < 0.7


def test_densities_have_area_one_over_the_range_of_both() -> None:
    forget, unseen = losses_of("memorised", 60, 40)
    grid, *densities = loss_densities(forget, unseen)
    assert (len(grid), grid[0], grid[-1]) == (1000, min(forget.min(), unseen.min()), max(forget.max(), unseen.max()))
    assert [np.trapezoid(density, grid) for density in densities] == pytest.approx([1, 1])


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shift=st.floats(0, 1e4),
    sizes=st.tuples(st.integers(5, 60), st.integers(5, 60)),
)
@example(seed=0, shift=44.0, sizes=(9, 5))  # a tail of one density underflows
def test_distance_lies_between_zero_and_root_ln_two_and_is_symmetric(
    seed: int, shift: float, sizes: tuple[int, int]
) -> None:
    forget, unseen = losses_of("alike", *sizes, seed=seed)
    distance = jensen_shannon_distance(forget + shift, unseen)
    assert 0 <= distance <= math.sqrt(math.log(2)) + 1e-12
    assert jensen_shannon_distance(unseen, forget + shift) == pytest.approx(distance, abs=1e-9)


def test_distance_comes_near_its_maximum_for_sets_without_overlap() -> None:
    generator = np.random.default_rng(0)
    distance = jensen_shannon_distance(generator.normal(0, 1, 200), generator.normal(100, 1, 200))
    assert distance == pytest.approx(math.sqrt(math.log(2)), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_distance_of_a_set_to_itself_in_another_order_is_zero(seed: int) -> None:
    # The two densities differ in their last digits, and the divergence must not come out below zero by that.
    generator = np.random.default_rng(seed)
    losses = generator.gamma(1, 1, 50)
    assert jensen_shannon_distance(generator.permutation(losses), losses) == pytest.approx(0, abs=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# What goes in
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        list,
        tuple,
        np.float32,
        np.float16,
        torch.tensor,
        lambda x: torch.tensor(x, dtype=torch.float32),
        lambda x: torch.tensor(x, dtype=torch.float16),
        lambda x: torch.tensor(x, dtype=torch.bfloat16),
        lambda x: torch.tensor(x, requires_grad=True),
        lambda x: torch.tensor(np.rint(x * 10), dtype=torch.int64),
        lambda x: np.rint(x * 10).astype(np.int32),
    ],
    ids=["list", "tuple", "np32", "np16", "torch64", "torch32", "torch16", "bf16", "grad", "torch_int", "np_int"],
)
@pytest.mark.parametrize(
    ("function", "published"), zip(FUNCTIONS, [published_attack, published_distance], strict=True), ids=["mia", "jsd"]
)
def test_losses_may_come_as_lists_arrays_and_tensors(
    function: Callable[..., float], published: Callable[..., float], convert: Callable
) -> None:
    forget, unseen = (convert(losses) for losses in losses_of("memorised", 50, 40))
    with warnings.catch_warnings():  # about tensors that want a gradient
        warnings.simplefilter("ignore")
        exact = [[float(x) for x in losses] for losses in (forget, unseen)]
    assert function(forget, unseen) == pytest.approx(published(*exact), abs=1e-9, rel=0)
    assert type(function(forget, unseen)) is float


@pytest.mark.parametrize(
    "broken",
    [
        [],
        np.empty(0),
        torch.empty(0),
        1.5,
        [0.1, math.nan, 0.3],
        [0.1, math.inf, 0.3],
        torch.tensor([0.1, -math.inf, 0.3]),
        np.ones((3, 1)),
        torch.rand(2, 5),
    ],
    ids=["list", "array", "tensor", "scalar", "nan", "inf", "-inf", "column", "matrix"],
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_losses_that_are_no_finite_column_are_refused_by_name(function: Callable[..., float], broken: object) -> None:
    good = np.random.default_rng(0).random(30)
    with pytest.raises(ValueError, match="forget losses"):
        function(broken, good)
    with pytest.raises(ValueError, match="unseen losses"):
        function(good, broken)


def test_sets_too_small_for_the_attack_are_refused() -> None:
    with pytest.raises(ValueError, match="least"):
        membership_inference_accuracy([0.1], np.random.default_rng(0).random(30))


@pytest.mark.parametrize("constant", [[1.0], [1.0] * 30])
def test_a_density_of_one_value_is_refused(constant: list[float]) -> None:
    with pytest.raises(ValueError, match="forget losses are all 1"):
        jensen_shannon_distance(constant, np.random.default_rng(0).random(30))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("convert", [np.array, torch.tensor, list])
def test_inputs_and_the_global_generator_stay_as_they_were(
    function: Callable[..., float], convert: Callable[[Floats], Floats]
) -> None:
    before = losses_of("alike", 60, 40)
    given_losses = [convert(losses) for losses in before]
    np.random.seed(7)
    expected_draw = np.random.random(3)
    np.random.seed(7)
    function(*given_losses)
    np.testing.assert_array_equal(np.random.random(3), expected_draw)
    for losses, original in zip(given_losses, before, strict=True):
        np.testing.assert_array_equal(np.asarray(losses), original)


# ---------------------------------------------------------------------------------------------------------------------
# Scores
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "mia", "forgetting", "final"),
    [
        (1.0, 0.5, 0.0, 1.0),
        (0.0, 1.0, 0.5, 0.0),
        (0.0, 0.0, 0.5, 0.0),
        # Published rows of MUFAC: original, retrained and GLI.
        (0.5952, 0.7136, 0.2136, 0.5840),
        (0.4880, 0.5445, 0.0445, 0.6995),
        (0.5685, 0.4695, 0.0305, 0.75375),
    ],
)
def test_forgetting_and_final_score(accuracy: float, mia: float, forgetting: float, final: float) -> None:
    assert forgetting_score(mia) == pytest.approx(forgetting, abs=1e-12)
    assert final_score(accuracy, forgetting_score(mia)) == pytest.approx(final, abs=1e-9)


def test_summary_holds_every_score() -> None:
    forget, unseen = losses_of("memorised", 60, 40)
    mia = published_attack(forget, unseen)
    scores = summary(0.4, forget, unseen)
    assert scores == pytest.approx(
        {
            "mia_accuracy": mia,
            "jsd": published_distance(forget, unseen),
            "forgetting_score": abs(0.5 - mia),
            "final_score": (0.4 + 1 - 2 * abs(0.5 - mia)) / 2,
        },
        abs=1e-9,
    )


@pytest.mark.parametrize(
    "broken",
    [[], [math.nan] * 30, [math.inf, 1.0, 2.0], torch.full((20,), math.nan), [0.3]],
    ids=["empty", "nan", "inf", "tensor", "single"],
)
def test_summary_of_broken_losses_is_nan(broken: object) -> None:
    good = np.random.default_rng(0).random(30)
    for scores in (summary(0.5, broken, good), summary(0.5, good, broken)):  # type: ignore[arg-type]
        assert set(scores) == {"mia_accuracy", "jsd", "forgetting_score", "final_score"}
        assert all(math.isnan(value) for value in scores.values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:lbfgs failed")
@pytest.mark.parametrize(
    "strange",
    [[2.0] * 30, np.linspace(0, 1, 30) * 1e200, np.linspace(1, 2, 30) * 1e-200, 0.5 + np.linspace(0, 1e-13, 30)],
    ids=["constant", "huge", "tiny", "needle"],
)
def test_summary_lacks_only_the_distance_where_no_density_can_be_estimated(strange: npt.ArrayLike) -> None:
    scores = summary(0.5, strange, np.random.default_rng(0).random(30))
    assert math.isnan(scores["jsd"])
    assert math.isfinite(scores["mia_accuracy"])
    assert math.isfinite(scores["final_score"])


# ---------------------------------------------------------------------------------------------------------------------
# Gathering over batches
# ---------------------------------------------------------------------------------------------------------------------


def sets(seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    """Row numbers (not in order, with gaps) and losses of the two sets."""
    generator = np.random.default_rng(seed)
    result = {}
    for (name, first), losses in zip((("forget", 0), ("unseen", 500)), losses_of("memorised", 47, 35), strict=True):
        rows = first + generator.choice(400, len(losses), replace=False)
        result[name] = (torch.from_numpy(rows), torch.from_numpy(losses))
    return result


def in_order(index: Tensor, values: Tensor) -> Floats:
    return values[index.argsort()].numpy()


class Gathered:
    """A metric of the losses of two sets, each gathered as an audit gathers them."""

    def __init__(self, function: Callable[[Tensor, Tensor], float]) -> None:
        self.function = function
        self.sets = {"forget": PerImage(), "unseen": PerImage()}

    def update(self, losses: Tensor, index: Tensor, subset: str) -> None:
        self.sets[subset].update(index, losses)

    def compute(self) -> float:
        return self.function(self.sets["forget"].compute(), self.sets["unseen"].compute())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_metric_is_its_function_of_the_losses_in_the_order_of_the_table(
    function: Callable[[Floats, Floats], float],
) -> None:
    data = sets()
    metric = Gathered(function)
    for name, (index, losses) in data.items():
        metric.update(losses, index, name)
    assert metric.sets["forget"].compute().dtype == torch.float64
    assert metric.compute() == function(*(in_order(*data[name]) for name in ("forget", "unseen")))


@settings(max_examples=8, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 20), st.lists(st.integers(0, 34), max_size=12))
def test_metric_does_not_depend_on_batches_order_or_repeats(random: Random, batch: int, again: list[int]) -> None:
    data = sets()
    metric = Gathered(jensen_shannon_distance)
    for name in random.sample(["forget", "unseen"], 2):
        index, losses = data[name]
        order = [*range(len(index)), *again]
        random.shuffle(order)
        for at in range(0, len(order), batch):
            metric.update(losses[order[at : at + batch]], index[order[at : at + batch]], name)
    assert metric.compute() == jensen_shannon_distance(*(in_order(*data[name]) for name in ("forget", "unseen")))


def test_attack_does_not_depend_on_batches_order_or_repeats() -> None:
    data = sets()
    metric = Gathered(membership_inference_accuracy)
    for name, batches in (("unseen", [[34, *range(20)], range(34, 10, -1)]), ("forget", [range(46, -1, -1), [3, 3]])):
        index, losses = data[name]
        for batch in map(list, batches):
            metric.update(losses[batch], index[batch], name)
    expected = membership_inference_accuracy(*(in_order(*data[name]) for name in ("forget", "unseen")))
    assert metric.compute() == expected


@pytest.mark.parametrize("columns", [(), (3,)], ids=["flat", "columns"])
def test_per_image_values_come_in_row_order_and_once(columns: tuple[int, ...]) -> None:
    rows = torch.tensor([9, 2, 30, 4, 11])
    values = torch.arange(5 * math.prod(columns), dtype=torch.float32).reshape(5, *columns)
    metric = PerImage()
    metric.update(rows[:3], values[:3])
    metric.update(rows[2:], values[2:])
    metric.update(rows[[0, 0]], values[[0, 0]])
    torch.testing.assert_close(metric.compute(), values[[1, 3, 0, 4, 2]], rtol=0, atol=0)


def test_gathered_values_hold_no_graph() -> None:
    values = torch.rand(4, requires_grad=True)
    metric = PerImage()
    metric.update(torch.arange(4), values * 2)
    assert not metric.compute().requires_grad


def filled(seed: int = 0) -> PerImage:
    metric = PerImage()
    for index, losses in sets(seed).values():
        metric.update(index, losses)
    return metric


def test_reset_forgets_what_was_gathered() -> None:
    metric = filled()
    metric.compute()
    metric.reset()
    rows = torch.arange(20)
    losses = torch.linspace(0, 3, 20)
    metric.update(rows, losses)
    assert torch.equal(metric.compute(), losses)


def test_metric_survives_pickling() -> None:
    metric = filled()
    restored = pickle.loads(pickle.dumps(metric))
    assert torch.equal(restored.compute(), metric.compute())


def test_a_clone_goes_its_own_way() -> None:
    metric = filled()
    clone = metric.clone()
    expected = metric.compute()
    clone.reset()
    rows = torch.arange(3)
    clone.update(rows, torch.ones(3))
    assert torch.equal(metric.compute(), expected)
    assert torch.equal(filled().clone().compute(), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Two processes
# ---------------------------------------------------------------------------------------------------------------------

#: For each case the positions (in the order of ``sets``) of the forget and the unseen losses that each process sees,
#: batch by batch.
Shards = list[dict[str, list[list[int]]]]


def shards(case: str) -> Shards:
    forget, unseen = list(range(47)), list(range(35))
    if case == "padded":  # as a distributed sampler deals them out: the last one repeats the first
        padded = {"forget": [*forget, 0], "unseen": [*unseen, 0]}
        return [{name: [rows[rank::2]] for name, rows in padded.items()} for rank in range(2)]
    if case == "uneven":  # another number of images and of updates on each process, with overlaps
        return [
            {"forget": [forget[:7], forget[7:31], forget[3:5]], "unseen": [unseen[20:]]},
            {"forget": [forget[29:]], "unseen": [unseen[at : at + 6] for at in range(0, 24, 6)]},
        ]
    # One process sees no image of a set at all, as where a set is smaller than the number of processes.
    return [{"forget": [forget], "unseen": [unseen[:20]]}, {"forget": [], "unseen": [unseen[20:]]}]


CASES = ("padded", "uneven", "empty")


def gathered(part: dict[str, list[list[int]]]) -> dict[str, Tensor]:
    """Every metric of the losses in ``part``; synchronised where there are several processes."""
    data = sets()
    metrics = {"mia": Gathered(membership_inference_accuracy), "jsd": Gathered(jensen_shannon_distance)}
    flat, columns = PerImage(), PerImage()
    for name, batches in part.items():
        index, losses = data[name]
        for batch in batches:
            for metric in metrics.values():
                metric.update(losses[batch], index[batch], name)
            if name == "forget":
                flat.update(index[batch], losses[batch])
                columns.update(index[batch], torch.stack([losses[batch], -losses[batch]], dim=1))
    result = {name: torch.tensor(metric.compute(), dtype=torch.float64) for name, metric in metrics.items()}
    return {**result, "flat": flat.compute(), "columns": columns.compute()}


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    for case in CASES:
        try:
            torch.save(gathered(shards(case)[rank]), f"{folder}/{case}-{rank}")
        except Exception as error:
            Path(f"{folder}/{case}-{rank}.txt").write_text(repr(error))
            break


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    context = multiprocessing.start_processes(one_of_two, (str(folder),), nprocs=2, join=False, start_method="fork")
    assert context is not None
    try:
        context.join(timeout=90, grace_period=1)
    except multiprocessing.ProcessExitedException as error:  # a crash shows in the case that left no result
        (folder / "crash.txt").write_text(str(error))
    for process in context.processes:
        process.kill()
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_get_the_numbers_of_one(two_processes: Path, case: str) -> None:
    data = sets()
    everything = gathered({name: [list(range(len(index)))] for name, (index, _) in data.items()})
    for rank in range(2):
        result = two_processes / f"{case}-{rank}"
        assert result.exists(), "\n".join(note.read_text() for note in two_processes.glob("*.txt"))
        for name, value in torch.load(result).items():
            torch.testing.assert_close(
                value, everything[name], rtol=0, atol=1e-9, msg=lambda text, at=name: f"{at}: {text}"
            )
