"""Every method's step against the same step written out by hand in plain torch, in both tasks."""

import copy
import math
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional

from gli.data.loading import Batch
from gli.methods import GLI, LI, FineTune, Method, NegGrad, Original, Retrained
from gli.schedules import ClassWeight
from gli.tasks import MultiClass, MultiLabel

LR = 0.1
TASKS = {"multi_class": MultiClass(("a", "b", "c")), "multi_label": MultiLabel(("p", "q", "r"))}


def tiny_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 3))


def batches(task, count=2):
    generator = torch.Generator().manual_seed(2)
    shape = (5,) if isinstance(task, MultiClass) else (5, 3)
    top = 3 if isinstance(task, MultiClass) else 2
    result = []
    for _ in range(count):
        parts = []
        for _ in range(2):
            images = torch.rand(5, 3, 6, 6, generator=generator)
            parts.append(Batch(images, torch.randint(top, shape, generator=generator), torch.arange(5)))
        result.append(tuple(parts))
    return result


def criterion(task, logits, labels):
    """The task's loss in plain torch."""
    if isinstance(task, MultiClass):
        return functional.cross_entropy(logits, labels)
    return functional.binary_cross_entropy_with_logits(logits, labels.float())


def run(method: Method, task, steps, monkeypatch) -> nn.Module:
    """The model after the method's own training steps, without a trainer."""
    method.model, method._task = tiny_model(), task
    method.prepare()
    optimizer = torch.optim.SGD(method.model.parameters(), lr=LR)
    monkeypatch.setattr(method, "optimizers", lambda: optimizer)
    monkeypatch.setattr(method, "manual_backward", lambda loss: loss.backward())
    monkeypatch.setattr(method, "log", lambda *_, **__: None)
    monkeypatch.setattr(type(method), "total_iterations", property(lambda self: len(steps)))
    for number, (retain, forget) in enumerate(steps):
        monkeypatch.setattr("gli.methods.base.iterations_done", lambda _, number=number: number + 1)
        monkeypatch.setattr(
            type(method), "trainer", property(lambda self: SimpleNamespace(world_size=1)), raising=False
        )
        parts = {"retain": retain, "forget": forget}
        method.training_step({part: parts[part] for part in method.passes[0]}, number)
    return method.model


def same(model: nn.Module, expected: nn.Module) -> None:
    for (name, value), wanted in zip(model.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def sgd(model: nn.Module, loss: torch.Tensor) -> None:
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter -= LR * gradient


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(
    ("method", "part", "sign"), [(FineTune, 0, 1), (NegGrad, 1, -1), (Original, 0, 1), (Retrained, 0, 1)]
)
def test_plain_methods_take_the_step_worked_out_by_hand(method, part, sign, task, monkeypatch):
    steps, expected = batches(task), tiny_model()
    model = run(method(lr=LR), task, steps, monkeypatch)
    for step in steps:
        batch = step[part]
        sgd(expected, sign * criterion(task, expected(batch.images), batch.labels))
    same(model, expected)


def perturbed_by_hand(model, task, retain, forget, *, weights, steps, step_size, distance, convex):
    """Algorithm 1's inner loop, from zero noise, for a model in eval mode or on a copy whose statistics do not matter."""
    frozen = copy.deepcopy(model)
    eta = torch.zeros_like(retain.images)
    goal = copy.deepcopy(model)(forget.images).detach()
    for step in range(steps):
        eta.requires_grad_(True)
        logits = frozen((retain.images + eta).clamp(0, 1))
        squares = (logits - goal) ** 2
        d = squares.mean() if distance == "mse" else squares.sum(dim=1).sqrt().mean()
        w = weights[step]
        loss = w * criterion(task, logits, retain.labels) - ((1 - w) if convex else 1) * d
        (gradient,) = torch.autograd.grad(loss, eta)
        eta = (eta - step_size * gradient.sign()).detach()
    return (retain.images + eta).clamp(0, 1)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_gli_as_released_takes_the_step_worked_out_by_hand(task, monkeypatch):
    """c * CE - MSE, c from 2 to 6 over the batches, train mode for the first batch and eval mode for the second."""
    steps, expected = batches(task), tiny_model()
    method = GLI(lr=LR, steps=3, step_size=0.02, class_weight=ClassWeight(2, 6))
    model = run(method, task, steps, monkeypatch)
    for number, (retain, forget) in enumerate(steps):
        expected.train(number == 0)
        images = perturbed_by_hand(
            expected,
            task,
            retain,
            forget,
            weights=[(2, 6)[number]] * 3,
            steps=3,
            step_size=0.02,
            distance="mse",
            convex=False,
        )
        sgd(expected, criterion(task, expected(images), retain.labels))
    same(model, expected)
    assert not model.training


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_gli_of_the_paper_uses_the_original_models_features_and_warms_up_over_steps(task, monkeypatch):
    steps, original = batches(task), tiny_model().eval()
    weight = ClassWeight(0.2, 0.8, form="convex", over="steps")
    method = GLI(
        lr=LR, steps=3, step_size=0.02, distance="l2", features="original", batch_norm="eval", class_weight=weight
    )
    model = run(method, task, steps, monkeypatch)
    expected = tiny_model().eval()
    for retain, forget in steps:
        images = perturbed_by_hand(
            original, task, retain, forget, weights=[0.2, 0.5, 0.8], steps=3, step_size=0.02, distance="l2", convex=True
        )
        sgd(expected, criterion(task, expected(images), retain.labels))
    same(model, expected)
    same(method.original_model(), tiny_model())
    assert not any(parameter.requires_grad for parameter in method.original_model().parameters())


def test_li_is_gli_without_a_class_weight(monkeypatch):
    task = TASKS["multi_class"]
    kept = run(LI(lr=LR, steps=2), task, batches(task), monkeypatch)
    same(run(GLI(lr=LR, steps=2, class_weight=ClassWeight(0, 0)), task, batches(task), monkeypatch), kept)


def test_start_noise_has_the_given_spread():
    method = LI(steps=0, init_std=0.01)
    method.model, method._task = tiny_model(), TASKS["multi_class"]
    images = torch.full((8, 3, 6, 6), 0.5)
    batch = Batch(images, torch.zeros(8, dtype=torch.long), torch.arange(8))
    torch.manual_seed(0)
    spread = (method.perturbed(batch, batch) - images).std().item()
    assert math.isclose(spread, 0.01, rel_tol=0.1)


def test_perturbing_in_train_mode_leaves_batch_norm_statistics_to_the_training_step(monkeypatch):
    method = GLI(steps=2, batch_norm="train")
    method.model, method._task = tiny_model().train(), TASKS["multi_class"]
    monkeypatch.setattr(type(method), "total_iterations", property(lambda self: 1))
    before = copy.deepcopy(method.model.state_dict())
    method.perturbed(*batches(method.task)[0])
    assert all(torch.equal(before[name], value) for name, value in method.model.state_dict().items())


def test_the_optimiser_holds_the_model_only():
    method = GLI(features="original")
    method.model, method._task = tiny_model(), TASKS["multi_class"]
    method.prepare()
    held = {id(parameter) for group in method.configure_optimizers().param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in method.model.parameters()}
    assert not any(name.startswith("_frozen") for name in method.state_dict())


def test_every_method_is_a_lightning_module_with_manual_optimisation():
    for method in (Original, Retrained, FineTune, NegGrad, LI, GLI):
        assert issubclass(method, L.LightningModule)
        assert method().automatic_optimization is False
