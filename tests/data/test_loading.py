from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gli.data.augment import COLUMNS, NO_AUGMENTATION, Augmentation
from gli.data.cache import PixelCache
from gli.data.faces import Rows
from gli.data.loading import Batch, BatchLoader, EpochPlan, EvaluationPlan, FaceDataset, Pass, Take, shuffled_batches
from gli.errors import SettingError
from gli.methods.module import batches_of_one_explained

RETAIN = np.arange(100, 123)  # 23 rows
FORGET = np.arange(7)
SETS = {"retain": RETAIN, "forget": FORGET, "test": np.arange(50, 60)}
TOGETHER = Pass("retain", "forget")


def rows(plan: EpochPlan, part: str) -> list[list[int]]:
    """The rows of one part of each batch that has it."""
    return [batch[part].rows.tolist() for batch in plan if part in batch]


def epoch(plan: EpochPlan, number: int) -> list[dict[str, Take]]:
    plan.set_epoch(number)
    return list(plan)


def assert_same(first: list[dict[str, Take]], second: list[dict[str, Take]]) -> None:
    assert len(first) == len(second)
    for first_batch, second_batch in zip(first, second, strict=True):
        assert list(first_batch) == list(second_batch)
        for part, (rows, random_numbers) in first_batch.items():
            np.testing.assert_array_equal(rows, second_batch[part].rows)
            assert (random_numbers is None) == (second_batch[part].random_numbers is None)
            if random_numbers is not None:
                np.testing.assert_array_equal(random_numbers, second_batch[part].random_numbers)


# ---------------------------------------------------------------------------------------------------------------------
# Epochs
# ---------------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(leading=st.integers(1, 40), other=st.integers(1, 12), size=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_epoch_is_one_pass_over_the_leading_set(leading: int, other: int, size: int, seed: int) -> None:
    sets = {"retain": np.arange(leading), "forget": 1000 + np.arange(other)}
    plan = EpochPlan(sets, [TOGETHER], size, seed=seed)
    batches = list(plan)
    # A set smaller than the batch size is one batch; a single image is in it twice, since BatchNorm needs two.
    expected = max(min(size, leading), min(size, 2))
    assert len(batches) == len(plan) == max(1, leading // expected)
    for part, name in TOGETHER.sets.items():
        assert {len(batch[part].rows) for batch in batches} == {expected}
        assert set(chain(*rows(plan, part))) <= set(sets[name].tolist())
    assert max(Counter(chain(*rows(plan, "retain"))).values()) == expected // min(expected, leading)


def test_smaller_last_batch_is_dropped_and_its_rows_differ_between_epochs() -> None:
    plan = EpochPlan(SETS, [TOGETHER], 5)
    assert len(plan) == 4  # 23 // 5
    left_out = [
        frozenset(RETAIN) - set(chain(*rows(plan, "retain"))) for number in range(6) if not plan.set_epoch(number)
    ]
    assert {len(rest) for rest in left_out} == {3}
    assert len(set(left_out)) > 1


@pytest.mark.parametrize("size", [2, 3, 5, 7, 10])
def test_the_other_set_is_cycled_and_shuffled_again_in_each_cycle(size: int) -> None:
    plan = EpochPlan({"retain": np.arange(70), "forget": FORGET}, [TOGETHER], size)
    stream = list(chain(*rows(plan, "forget")))
    assert len(stream) == 70 // size * size
    cycles = [tuple(stream[at : at + 7]) for at in range(0, len(stream) - 6, 7)]
    assert len(cycles) >= 9
    assert all(sorted(cycle) == FORGET.tolist() for cycle in cycles)
    assert len(set(cycles)) > len(cycles) // 2


def test_order_differs_between_epochs_seeds_and_parts_of_a_batch() -> None:
    plan = EpochPlan(SETS, [Pass(first="retain", second="retain")], 23)
    orders = [batch[part].rows.tolist() for number in range(3) for batch in epoch(plan, number) for part in batch]
    orders += [batch[part].rows.tolist() for batch in EpochPlan(SETS, plan.passes, 23, seed=1) for part in batch]
    assert len({tuple(order) for order in orders}) == len(orders) == 8
    assert all(sorted(order) == RETAIN.tolist() for order in orders)


def test_plan_depends_on_the_seed_and_the_epoch_alone() -> None:
    first, second = (EpochPlan(SETS, [TOGETHER], 4, seed=9, augmentation=Augmentation()) for _ in range(2))
    np.random.seed(0)
    torch.manual_seed(0)
    third = epoch(first, 3)
    np.random.seed(1)
    torch.manual_seed(1)
    epoch(second, 0)
    assert_same(epoch(second, 3), third)
    assert_same(list(second), third)  # Iterating does not change the plan.


def test_leading_set_smaller_than_the_batch_size_is_one_batch() -> None:
    plan = EpochPlan(SETS, [Pass("forget", "retain")], 64)
    (batch,) = plan
    assert sorted(batch["forget"].rows) == FORGET.tolist()
    assert len(batch["retain"].rows) == 7


@pytest.mark.parametrize("world", [2, 3])
def test_leading_set_smaller_than_the_batch_size_is_divided_among_processes(world: int) -> None:
    plans = [EpochPlan(SETS, [Pass("forget")], 64, rank=rank, world=world) for rank in range(world)]
    assert [len(plan) for plan in plans] == [1] * world
    slices = [batch_rows for plan in plans for batch_rows in rows(plan, "forget")]
    assert {len(slice_rows) for slice_rows in slices} == {7 // world}
    all_rows = list(chain(*slices))
    assert len(set(all_rows)) == len(all_rows)


def test_a_batch_of_one_image_is_never_formed_unless_it_is_asked_for() -> None:
    for passes in ([Pass("forget")], [Pass("forget", "retain")], [Pass("forget", over="retain")]):
        for count in (1, 2, 3, 9):
            for world in (1, 2, 3):
                sets = {"forget": np.arange(count), "retain": np.arange(max(count, 3))}
                if count < world and passes[0].over == "forget":
                    continue
                plans = [EpochPlan(sets, passes, 8, rank=rank, world=world) for rank in range(world)]
                sizes = {len(take.rows) for plan in plans for batch in plan for take in batch.values()}
                assert sizes
                assert min(sizes) >= 2, (passes, count, world)
    (batch,) = EpochPlan({"forget": np.arange(1)}, [Pass("forget", batch_size=1)], 8)
    assert len(batch["forget"].rows) == 1
    with pytest.raises(SettingError, match=r"Set data\.batch_size"), batches_of_one_explained():
        torch.nn.BatchNorm2d(3)(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match="another"), batches_of_one_explained():
        raise ValueError("another error")


def test_each_pass_goes_over_its_own_leading_set() -> None:
    passes = [Pass("forget"), Pass("retain", "test"), Pass("forget")]
    plan = EpochPlan(SETS, passes, 3)
    batches = list(plan)
    # 7 // 3, 23 // 3 and 7 // 3 batches
    assert [tuple(batch) for batch in batches] == [("forget",)] * 2 + [("retain", "test")] * 7 + [("forget",)] * 2
    assert len(plan) == 11
    first, second = (list(chain(*(batch["forget"].rows for batch in pass_))) for pass_ in (batches[:2], batches[-2:]))
    assert len(set(first)) == len(set(second)) == 6
    assert first != second


def test_batch_size_of_each_pass_depends_on_its_own_leading_set() -> None:
    plan = EpochPlan(SETS, [Pass("forget"), Pass("retain")], 10)
    assert [len(take.rows) for batch in plan for take in batch.values()] == [7, 10, 10]


def test_a_part_of_a_batch_may_have_another_name_than_its_set() -> None:
    plan = EpochPlan(SETS, [Pass(impair="retain", noise="retain")], 23)
    (batch,) = plan
    assert sorted(batch["impair"].rows) == sorted(batch["noise"].rows) == RETAIN.tolist()
    assert batch["impair"].rows.tolist() != batch["noise"].rows.tolist()


def test_a_pass_may_be_over_a_set_that_it_does_not_load() -> None:
    plan = EpochPlan(SETS, [Pass("forget", over="retain")], 5)
    batches = list(plan)
    assert len(batches) == len(plan) == 23 // 5
    assert [list(batch) for batch in batches] == [["forget"]] * 4
    stream = list(chain(*rows(plan, "forget")))
    assert Counter(stream[:7]) == Counter(FORGET.tolist())


def test_a_pass_may_have_a_batch_size_of_its_own() -> None:
    plan = EpochPlan(SETS, [Pass("forget", batch_size=2), Pass("retain", batch_size=10), Pass("test")], 4)
    assert [len(take.rows) for batch in plan for take in batch.values()] == [2] * 3 + [10] * 2 + [4] * 2


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_mixed_pass_covers_all_its_sets_and_each_row_keeps_its_set(world: int) -> None:
    mixed = Pass("retain", "forget", mixed=True)
    plans = [EpochPlan(SETS, [mixed], 3, rank=rank, world=world, augmentation=Augmentation()) for rank in range(world)]
    batches = [list(plan) for plan in plans]
    assert {len(plan_batches) for plan_batches in batches} == {len(plans[0])} == {30 // (3 * world)}
    seen: list[int] = []
    for batch in chain(*batches):
        assert list(batch) == ["retain", "forget"]
        assert sum(len(take.rows) for take in batch.values()) == 3
        assert set(batch["retain"].rows) <= set(RETAIN)
        assert set(batch["forget"].rows) <= set(FORGET)
        assert all(
            take.random_numbers is not None and take.random_numbers.shape == (len(take.rows), COLUMNS)
            for take in batch.values()
        )
        seen += [int(row) for take in batch.values() for row in take.rows]
    assert len(seen) == len(set(seen)) == 30 // (3 * world) * 3 * world


def test_mixed_batches_of_several_processes_are_the_batch_of_one_process() -> None:
    mixed = Pass("retain", "forget", mixed=True)
    single = EpochPlan(SETS, [mixed], 6, augmentation=Augmentation())
    both = [EpochPlan(SETS, [mixed], 3, rank=rank, world=2, augmentation=Augmentation()) for rank in range(2)]
    for whole, left, right in zip(single, *both, strict=True):
        for part in ("retain", "forget"):
            assert [*left[part].rows, *right[part].rows] == whole[part].rows.tolist()
            random_numbers = np.concatenate([left[part].random_numbers, right[part].random_numbers])
            np.testing.assert_array_equal(random_numbers, whole[part].random_numbers)


def test_a_share_of_a_set_has_the_same_rows_in_every_epoch_and_others_for_another_seed() -> None:
    pass_ = Pass("retain", "forget", over="retain", shares={"retain": 0.3})
    plan = EpochPlan(SETS, [pass_], 7)  # 30 % of 23 is 7.
    subsets = []
    for number in range(3):
        plan.set_epoch(number)
        (batch,) = plan
        subsets.append(sorted(batch["retain"].rows))
        assert sorted(batch["forget"].rows) == FORGET.tolist()
    assert subsets[0] == subsets[1] == subsets[2]
    assert set(subsets[0]) < set(RETAIN)
    (batch,) = EpochPlan(SETS, [pass_], 7, seed=1)
    assert sorted(batch["retain"].rows) != subsets[0]
    twins = {"retain": RETAIN, "forget": FORGET, "test": RETAIN}
    both = Pass("retain", "test", shares={"retain": 0.3, "test": 0.3})
    (batch,) = EpochPlan(twins, [both], 7)
    assert sorted(batch["retain"].rows) != sorted(batch["test"].rows)


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="share of retain"):
        Pass("retain", shares={"retain": share})


def test_a_batch_size_below_1_is_refused() -> None:
    with pytest.raises(SettingError, match="batch size is 0"):
        Pass("retain", batch_size=0)


def test_loading_a_part_without_images() -> None:
    batch = dataset()[Take(np.arange(0), np.zeros((0, COLUMNS), dtype=np.float32))]
    assert isinstance(batch, Batch)
    assert batch.images.shape == (0, 3, SIZE, SIZE)
    assert Augmentation()(batch.images.float() / 255, batch.random_numbers).shape == (0, 3, SIZE, SIZE)


def test_plan_does_not_change_the_sets() -> None:
    before = {name: values.copy() for name, values in SETS.items()}
    list(EpochPlan(SETS, [TOGETHER], 4))
    for name, values in SETS.items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("augmentation", [NO_AUGMENTATION, Augmentation()], ids=["plain", "augmented"])
@pytest.mark.parametrize("passes", [[TOGETHER], [Pass("forget"), TOGETHER]], ids=["one pass", "two passes"])
def test_batches_of_several_processes_are_the_larger_batch_of_one_process(
    world: int, augmentation: Augmentation, passes: list[Pass]
) -> None:
    single = EpochPlan(SETS, passes, 2 * world, seed=5, augmentation=augmentation)
    plans = [
        EpochPlan(SETS, passes, 2, seed=5, rank=rank, world=world, augmentation=augmentation) for rank in range(world)
    ]
    for number in (0, 3):
        whole = []
        for slices in zip(*(epoch(plan, number) for plan in plans), strict=True):
            batch = {}
            for part in slices[0]:
                takes = [batch_slice[part] for batch_slice in slices]
                assert [len(take.rows) for take in takes] == [2] * world
                random_numbers = None
                if augmentation.enabled:
                    random_numbers = np.concatenate([take.random_numbers for take in takes])
                batch[part] = Take(np.concatenate([take.rows for take in takes]), random_numbers)
            whole.append(batch)
        assert_same(whole, epoch(single, number))
    assert {len(plan) for plan in plans} == {len(single)}


def test_random_numbers_differ_between_batches_sets_and_epochs() -> None:
    plan = EpochPlan(SETS, [TOGETHER], 4, augmentation=Augmentation())
    arrays = [take.random_numbers for number in range(2) for batch in epoch(plan, number) for take in batch.values()]
    assert {array.shape for array in arrays} == {(4, COLUMNS)}
    assert len({array.tobytes() for array in arrays}) == len(arrays) == 20  # 2 epochs of 5 batches of 2 parts.


def test_augmentation_does_not_change_the_rows() -> None:
    plain, augmented = (
        EpochPlan(SETS, [TOGETHER], 4, augmentation=kind) for kind in (Augmentation(enabled=False), Augmentation())
    )
    for part in TOGETHER.sets:
        assert rows(plain, part) == rows(augmented, part)
    assert all(take.random_numbers is None for batch in plain for take in batch.values())


def test_shuffled_batches_may_be_larger_than_their_set() -> None:
    batches = [batch.tolist() for batch in shuffled_batches(np.arange(3), 8, 3, [0])]
    assert [len(batch) for batch in batches] == [8] * 3
    stream = list(chain(*batches))
    assert all(sorted(stream[at : at + 3]) == [0, 1, 2] for at in range(0, 24, 3))


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation
# ---------------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 30), size=st.integers(1, 12), world=st.integers(1, 3))
def test_evaluation_visits_every_row_on_one_process_only(count: int, size: int, world: int) -> None:
    order = np.random.default_rng(count).permutation(count) + 5
    plans = [EvaluationPlan(order, size, rank=rank, world=world) for rank in range(world)]
    visited = []
    for rank, plan in enumerate(plans):
        batches = [take.rows.tolist() for take in plan]
        assert len(plan) == len(batches)
        assert all(len(batch) == size for batch in batches[:-1])
        assert all(0 < len(batch) <= size for batch in batches)
        assert list(chain(*batches)) == order[rank::world].tolist()
        assert all(take.random_numbers is None for take in plan)
        visited += chain(*batches)
    assert sorted(visited) == sorted(order.tolist())


# ---------------------------------------------------------------------------------------------------------------------
# Loading
# ---------------------------------------------------------------------------------------------------------------------

SIZE = 4


def dataset(labels: tuple[int, ...] = ()) -> FaceDataset:
    """Thirty rows on twenty distinct images."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8)
    slots = generator.integers(0, 20, 130)
    return FaceDataset(PixelCache(pixels, slots), generator.integers(0, 2, (130, *labels)))


def flat(batches: list[Batch | dict[str, Batch]]) -> list[tuple[str, Batch]]:
    return [pair for batch in batches for pair in (batch.items() if isinstance(batch, dict) else [("", batch)])]


@pytest.mark.parametrize("labels", [(), (3,)], ids=["class", "labels"])
def test_batch_has_the_pixels_and_labels_of_its_rows(labels: tuple[int, ...]) -> None:
    data = dataset(labels)
    row_numbers: Rows = np.array([3, 129, 3, 40])
    random_numbers = Augmentation().sample(np.random.default_rng(0), 4)
    batch = data[Take(row_numbers, random_numbers)]
    assert isinstance(batch, Batch)
    assert (batch.images.shape, batch.images.dtype) == ((4, 3, SIZE, SIZE), torch.uint8)
    for image, row in zip(batch.images, row_numbers, strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0), data.pixels.pixels[data.pixels.slots[row]])
    np.testing.assert_array_equal(batch.labels, data.labels[row_numbers])
    assert batch.labels.shape == (4, *labels)
    assert batch.index.tolist() == row_numbers.tolist()
    np.testing.assert_array_equal(batch.random_numbers, random_numbers)
    assert data[Take(row_numbers)].random_numbers is None  # type: ignore[union-attr]


def test_writing_to_a_batch_does_not_change_the_data_set() -> None:
    data = dataset()
    before = data.pixels.pixels.copy(), data.labels.copy()
    batch = data[Take(np.arange(130))]
    assert isinstance(batch, Batch)
    batch.images.zero_()
    batch.labels.fill_(9)
    np.testing.assert_array_equal(data.pixels.pixels, before[0])
    np.testing.assert_array_equal(data.labels, before[1])


def test_batches_do_not_depend_on_the_number_of_workers() -> None:
    plan = EpochPlan(SETS, [TOGETHER, Pass("test")], 4, augmentation=Augmentation())
    plan.set_epoch(2)
    loaded = [flat(list(BatchLoader(dataset(), plan, workers))) for workers in (0, 2)]
    expected = [(part, take) for batch in plan for part, take in batch.items()]
    assert [part for part, _ in loaded[0]] == [part for part, _ in loaded[1]] == [part for part, _ in expected]
    for (_, first), (_, second), (_, take) in zip(*loaded, expected, strict=True):
        assert isinstance(second, Batch)
        torch.testing.assert_close(first._asdict(), second._asdict(), rtol=0, atol=0)
        assert first.index.tolist() == take.rows.tolist()
        np.testing.assert_array_equal(first.random_numbers, take.random_numbers)


def test_loader_follows_an_evaluation_plan() -> None:
    plan = EvaluationPlan(RETAIN, 10)
    loader = BatchLoader(dataset(), plan)
    batches = [batch for _, batch in flat(list(loader))]
    assert len(loader) == 3
    assert list(chain(*(batch.index.tolist() for batch in batches))) == RETAIN.tolist()
    assert all(batch.random_numbers is None for batch in batches)


def test_the_sampler_of_a_loader_is_its_plan_and_accepts_an_epoch() -> None:
    loader = BatchLoader(dataset(), EpochPlan(SETS, [TOGETHER], 5))
    orders = []
    for number in range(2):
        loader.sampler.set_epoch(number)  # type: ignore[union-attr]
        orders.append([batch.index.tolist() for _, batch in flat(list(loader))])
    assert orders[0] != orders[1]
    assert len(loader) == len(orders[0]) // 2 == 4
    assert loader.batch_sampler is None


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_does_not_change_the_state_of_the_global_generators(workers: int) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    assert len(list(BatchLoader(dataset(), EpochPlan(SETS, [TOGETHER], 8, augmentation=Augmentation()), workers))) == 2
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
