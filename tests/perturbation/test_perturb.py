from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from gli.perturbation.class_weight import ClassWeight
from gli.perturbation.distances import DISTANCES, DistanceName
from gli.perturbation.perturb import perturb, statistics_kept

Floats = npt.NDArray[np.float64]


def total(output: Tensor, step: int) -> Tensor:
    return output.sum()


# ---------------------------------------------------------------------------------------------------------------------
# Steps computed by hand
# ---------------------------------------------------------------------------------------------------------------------

COUNT, PIXELS, OUTPUTS = 3, 12, 4


class Example:
    """Three images of shape 3 x 2 x 2, a linear model, labels, and features for the distance."""

    def __init__(self, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.weight = generator.normal(size=(OUTPUTS, PIXELS))
        self.bias = generator.normal(size=OUTPUTS)
        self.images = generator.random((COUNT, PIXELS))
        self.images[:, :3], self.images[:, 3:6] = 0.02, 0.98  # These pixels leave the range soon.
        self.features = generator.normal(size=(COUNT, OUTPUTS))
        self.labels = generator.integers(0, OUTPUTS, COUNT)

    @property
    def model(self) -> nn.Module:
        linear = nn.Linear(PIXELS, OUTPUTS).double()
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(self.weight))
            linear.bias.copy_(torch.from_numpy(self.bias))
        return nn.Sequential(nn.Flatten(), linear)

    @property
    def tensor(self) -> Tensor:
        return torch.from_numpy(self.images).reshape(COUNT, 3, 2, 2)


def distance_gradient(name: str, logits: Floats, others: Floats) -> Floats:
    """Return d distance / d logits in closed form."""
    difference = logits - others
    if name == "l1":
        return np.sign(difference) / COUNT
    if name == "l2":
        return difference / np.sqrt((difference**2).sum(axis=1, keepdims=True)) / COUNT
    if name == "mse":
        return 2 * difference / (COUNT * OUTPUTS)
    # d cos / d z = o / (|z| |o|) - (z . o) z / (|z|^3 |o|)
    z, o = (np.sqrt((array**2).sum(axis=1, keepdims=True)) for array in (logits, others))
    dot = (logits * others).sum(axis=1, keepdims=True)
    return -(others / (z * o) - dot * logits / (z**3 * o)) / COUNT


def class_gradient(logits: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Return d mean cross-entropy / d logits: (softmax - one-hot) / n."""
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(OUTPUTS)[labels]) / COUNT


def by_hand(example: Example, logit_gradient: Callable[[Floats], Floats], steps: int, size: float) -> list[Floats]:
    """Return the images after 0, 1, ... ``steps`` steps."""
    perturbation = np.zeros_like(example.images)
    results = [example.images]
    for _ in range(steps):
        perturbed = example.images + perturbation
        inside = (perturbed >= 0) & (perturbed <= 1)
        logits = np.clip(perturbed, 0, 1) @ example.weight.T + example.bias
        gradient = (logit_gradient(logits) @ example.weight) * inside
        perturbation = perturbation - size * np.sign(gradient)
        results.append(np.clip(example.images + perturbation, 0, 1))
    return results


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize("size", [0.01, 0.1])
def test_steps_away_from_features_by_hand(name: DistanceName, steps: int, size: float) -> None:
    example = Example()
    others = torch.from_numpy(example.features)
    result = perturb(
        example.model,
        example.tensor,
        lambda logits, step: -DISTANCES[name](logits, others),
        steps=steps,
        step_size=size,
    )
    *_, before, expected = by_hand(
        example, lambda logits: -distance_gradient(name, logits, example.features), steps, size
    )
    np.testing.assert_array_equal(result.reshape(COUNT, PIXELS).numpy(), expected)
    assert not np.array_equal(before, expected)  # The last step changes the images.


@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize(
    ("weight", "steps"),
    [
        (ClassWeight(0.5, 4.0, over="steps"), 2),
        (ClassWeight(0.2, 0.9, form="convex", over="steps"), 2),
        (ClassWeight(0.0, 1.0, form="convex", over="steps"), 4),
        (ClassWeight(200, 1000), 2),
    ],
    ids=["class", "convex", "from-distance-to-class", "released"],
)
def test_steps_of_class_loss_and_distance_by_hand(name: DistanceName, weight: ClassWeight, steps: int) -> None:
    example = Example(seed=1)
    others, labels = torch.from_numpy(example.features), torch.from_numpy(example.labels)

    def loss(logits: Tensor, step: int) -> Tensor:
        class_loss = functional.cross_entropy(logits, labels)
        return weight.combine(weight.at(1, 4, step, steps), class_loss, DISTANCES[name](logits, others))

    number = itertools.count()

    def gradient(logits: Floats) -> Floats:
        progress = next(number) / (steps - 1) if weight.over == "steps" else 1 / 3
        w = weight.initial + (weight.final - weight.initial) * progress
        factor = 1 if weight.form == "class" else 1 - w
        return w * class_gradient(logits, example.labels) - factor * distance_gradient(name, logits, example.features)

    result = perturb(example.model, example.tensor, loss, steps=steps, step_size=0.05)
    expected = by_hand(example, gradient, steps, 0.05)[-1]
    np.testing.assert_array_equal(result.reshape(COUNT, PIXELS).numpy(), expected)


def test_one_step_on_one_pixel_by_hand() -> None:
    # Loss 3 x - 2 y: x decreases, y increases.
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    model[1].weight.data = torch.tensor([[3.0, -2.0]])
    image = torch.tensor([0.5, 0.5]).reshape(1, 1, 1, 2)
    result = perturb(model, image, total, steps=1, step_size=0.125)
    assert result.flatten().tolist() == [0.375, 0.625]


def test_pixels_with_zero_gradient_do_not_change() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 1, bias=False))
    model[1].weight.data = torch.tensor([[0.0, 1.0, 0.0]])
    image = torch.full((1, 1, 1, 3), 0.5)
    result = perturb(model, image, total, steps=3, step_size=0.125)
    assert result.flatten().tolist() == [0.5, 0.125, 0.5]


# ---------------------------------------------------------------------------------------------------------------------
# Clipping and start noise
# ---------------------------------------------------------------------------------------------------------------------


def test_result_is_clipped_on_both_sides() -> None:
    image = torch.tensor([0.05, 0.5, 0.95]).reshape(1, 1, 1, 3)
    for sign, expected in ((1, [0, 0.4, 0.85]), (-1, [0.15, 0.6, 1])):
        result = perturb(nn.Identity(), image, lambda x, step, sign=sign: sign * x.sum(), steps=1, step_size=0.1)
        assert result.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_images_may_have_another_range() -> None:
    image = torch.tensor([-0.95, 0.0, 0.95]).reshape(1, 1, 1, 3)
    result = perturb(nn.Identity(), image, lambda x, step: -x.sum(), steps=4, step_size=0.5, clip=(-1, 1))
    assert result.flatten().tolist() == pytest.approx([1, 1, 1])


def test_pixel_that_left_the_range_no_longer_moves() -> None:
    # One step up and two down: 0.95 leaves the range in the first step, has no gradient afterwards and stays at 1.
    image = torch.tensor([0.5, 0.95], dtype=torch.float64).reshape(1, 1, 1, 2)
    result = perturb(nn.Identity(), image, lambda x, step: (-1, 1, 1)[step] * x.sum(), steps=3, step_size=0.1)
    assert result.flatten().tolist() == pytest.approx([0.4, 1], abs=1e-12)


def test_inputs_of_the_model_are_clipped() -> None:
    inputs = []

    def loss(images: Tensor, step: int) -> Tensor:
        inputs.append(images.detach().clone())
        return -images.sum()

    perturb(nn.Identity(), torch.full((1, 1, 1, 1), 0.9), loss, steps=3, step_size=0.08)
    assert [image.item() for image in inputs] == pytest.approx([0.9, 0.98, 1])


def test_steps_start_from_the_noise() -> None:
    images = torch.full((2, 1, 3, 3), 0.5, dtype=torch.float64)
    noise = torch.randn(2, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.01
    result = perturb(nn.Identity(), images, total, steps=3, step_size=0.1, start=noise)
    torch.testing.assert_close(result, images + noise - 0.3, rtol=0, atol=1e-12)


def test_without_noise_no_random_number_is_drawn() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    perturb(nn.Identity(), torch.rand(1, 1, 2, 2, generator=torch.Generator()), total, steps=2, step_size=0.1)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_steps_and_no_noise_return_the_images() -> None:
    images = torch.rand(2, 3, 4, 4)
    result = perturb(nn.Identity(), images, total, steps=0, step_size=0.1)
    assert torch.equal(result, images)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    steps=st.integers(0, 4),
    step_size=st.floats(0, 0.5),
    init_std=st.floats(0, 0.5),
)
def test_result_is_in_range_and_the_perturbation_is_bounded_by_steps_and_noise(
    seed: int, steps: int, step_size: float, init_std: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images, direction = torch.rand(2, 2, 1, 3, 3, dtype=torch.float64, generator=generator)
    noise = torch.randn(2, 1, 3, 3, dtype=torch.float64, generator=generator) * init_std

    def loss(pixels: Tensor, step: int) -> Tensor:
        return (pixels - direction).pow(2).sum()

    result = perturb(nn.Identity(), images, loss, steps=steps, step_size=step_size, start=noise)
    assert (result >= 0).all()
    assert (result <= 1).all()
    assert ((result - images).abs() <= noise.abs() + steps * step_size + 1e-12).all()


# ---------------------------------------------------------------------------------------------------------------------
# The contract
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "step_size"), [(-1, 0.1), (2, -0.1)])
def test_negative_steps_are_refused(steps: int, step_size: float) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        perturb(nn.Identity(), torch.rand(1, 1, 2, 2), total, steps=steps, step_size=step_size)


def test_a_loss_without_the_step_is_refused_in_one_sentence_and_other_errors_pass() -> None:
    with pytest.raises(TypeError, match=r"perturb calls loss\(logits, step\).*lambda logits, step"):
        perturb(nn.Identity(), torch.rand(1, 1, 2, 2), lambda logits: logits.sum(), steps=1, step_size=0.1)
    with pytest.raises(TypeError, match="unsupported operand"):
        perturb(nn.Identity(), torch.rand(1, 1, 2, 2), lambda logits, step: logits + "a", steps=1, step_size=0.1)


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_loss_and_model_are_called_once_per_step(steps: int) -> None:
    calls = {"loss": 0, "model": 0}
    model = nn.Conv2d(1, 1, 3)

    def loss(output: Tensor, step: int) -> Tensor:
        calls["loss"] += 1
        return output.sum()

    model.register_forward_hook(lambda *_: calls.update(model=calls["model"] + 1))
    perturb(model, torch.rand(2, 1, 4, 4), loss, steps=steps, step_size=0.1)
    assert calls == {"loss": steps, "model": steps}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [0, 2])
def test_result_is_a_detached_copy_and_the_images_do_not_change(dtype: torch.dtype, steps: int) -> None:
    images = torch.rand(2, 1, 4, 4, dtype=dtype, requires_grad=True)
    before = images.detach().clone()
    result = perturb(nn.Conv2d(1, 1, 3).to(dtype), images, total, steps=steps, step_size=0.1)
    assert (result.requires_grad, result.grad_fn) == (False, None)
    assert (result.shape, result.dtype) == (images.shape, dtype)
    assert result.data_ptr() != images.data_ptr()
    assert images.grad is None
    assert images.requires_grad
    assert torch.equal(images.detach(), before)


def test_perturb_works_if_gradients_are_disabled() -> None:
    example = Example()
    expected = perturb(example.model, example.tensor, total, steps=2, step_size=0.1)
    with torch.no_grad():
        result = perturb(example.model, example.tensor, total, steps=2, step_size=0.1)
        assert not torch.is_grad_enabled()
    assert torch.equal(result, expected)
    assert not torch.equal(result, example.tensor)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.Dropout(0.2)),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Flatten(),
        nn.Linear(4 * 2 * 2, 3),
    )


def set_mode(model: nn.Sequential, mode: str) -> None:
    model.train(mode != "eval")
    if mode == "first frozen":
        model[1].eval()
    elif mode == "only one trains":
        model.eval()
        model[3][1].train()


def state(model: nn.Module) -> dict[str, object]:
    """Return all properties of the model that must not change."""
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "buffers": {name: buffer.clone() for name, buffer in model.named_buffers()},
        "parameters": {name: value.detach().clone() for name, value in model.named_parameters()},
        "requires": {name: value.requires_grad for name, value in model.named_parameters()},
        "gradients": {
            name: None if value.grad is None else value.grad.clone() for name, value in model.named_parameters()
        },
    }


def assert_equal(first: dict[str, object], second: dict[str, object]) -> None:
    torch.testing.assert_close(first, second, rtol=0, atol=0)


MODES = ["train", "eval", "first frozen", "only one trains"]


def used_network(mode: str) -> nn.Sequential:
    """Return a network with changed statistics, some gradients, and some frozen parameters."""
    model = network()
    for _ in range(2):
        model(torch.rand(4, 3, 6, 6)).square().sum().backward()
    model[0].weight.grad = None
    model[6].bias.requires_grad_(False)
    set_mode(model, mode)
    return model


@pytest.mark.parametrize("mode", MODES)
def test_model_does_not_change(mode: str) -> None:
    model = used_network(mode)
    before = state(model)
    identities = {name: id(value) for name, value in [*model.named_buffers(), *model.named_parameters()]}
    result = perturb(model, torch.rand(4, 3, 6, 6), lambda x, step: x.square().sum(), steps=3, step_size=0.01)
    assert_equal(state(model), before)
    assert {name: id(value) for name, value in [*model.named_buffers(), *model.named_parameters()]} == identities
    assert result.shape == (4, 3, 6, 6)


def test_a_forward_pass_in_train_mode_changes_the_statistics() -> None:
    model = used_network("train")
    before = state(model)["buffers"]
    model(torch.rand(4, 3, 6, 6))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(state(model)["buffers"], before, rtol=0, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_model_does_not_change_if_the_loss_raises(mode: str) -> None:
    model = used_network(mode)
    before = state(model)
    calls = itertools.count()

    def loss(output: Tensor, step: int) -> Tensor:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return output.sum()

    with pytest.raises(KeyboardInterrupt):
        perturb(model, torch.rand(4, 3, 6, 6), loss, steps=3, step_size=0.01)
    assert_equal(state(model), before)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_statistics_of_the_batch_are_used_in_train_mode_only(mode: str) -> None:
    model = nn.Sequential(nn.BatchNorm2d(1))
    model.train(mode == "train")
    outputs: list[Tensor] = []

    def loss(output: Tensor, step: int) -> Tensor:
        outputs.append(output.detach())
        return output.square().sum()

    images = torch.rand(4, 1, 3, 3)
    perturb(model, images, loss, steps=1, step_size=0.01)
    # The initial running statistics are mean 0 and variance 1: in eval mode the layer is almost the identity.
    expected = (images - images.mean()) / (images.var(correction=0) + 1e-5).sqrt() if mode == "train" else images
    torch.testing.assert_close(outputs[0], expected, rtol=1e-4, atol=1e-4)


def test_a_perturbation_does_not_change_the_next_training_step() -> None:
    results = []
    for perturbed in (True, False):
        model = used_network("train")
        model[3][2].p = 0.0
        images = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
        if perturbed:
            perturb(model, images, lambda x, step: x.square().sum(), steps=2, step_size=0.01)
        model.zero_grad()
        model(images).square().sum().backward()
        results.append(state(model))
    assert_equal(results[0], results[1])


@pytest.mark.parametrize("mode", MODES)
def test_statistics_kept_restores_what_a_forward_pass_changes(mode: str) -> None:
    model = used_network(mode)
    before = state(model)
    with statistics_kept(model):
        model(torch.rand(4, 3, 6, 6))
    assert_equal(state(model), before)


def test_statistics_kept_restores_after_an_error() -> None:
    model = used_network("train")
    before = state(model)

    def broken_step() -> None:
        with statistics_kept(model):
            model(torch.rand(4, 3, 6, 6))
            raise ValueError("broken step")

    with pytest.raises(ValueError, match="broken step"):
        broken_step()
    assert_equal(state(model), before)
