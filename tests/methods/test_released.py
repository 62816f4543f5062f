"""GLI and LI with ``batch_norm: released`` against the released code's loop, written out, in double precision."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from gli.data.loading import Batch
from gli.data.tasks import MultiClass
from gli.errors import SettingError
from gli.methods import GLI, LI, FineTune, Method
from gli.models.backbones import build_classifier
from gli.perturbation.class_weight import ClassWeight
from tests.methods.test_methods import stub_trainer

LR, ALPHA, BATCHES = 0.01, 0.02, 2
TASK = MultiClass(("a", "b", "c"))


@pytest.fixture(autouse=True)
def _no_trainer(monkeypatch):
    monkeypatch.setattr(Method, "trainer", None, raising=False)
    monkeypatch.setattr(Method, "manual_backward", lambda self, loss: loss.backward())
    monkeypatch.setattr(Method, "log", lambda *_, **__: None)


def small_resnet() -> nn.Module:
    torch.manual_seed(4)
    return build_classifier("resnet18_slim", 3).double()


def faces():
    generator = torch.Generator().manual_seed(6)
    for _ in range(BATCHES):
        images = [torch.rand(4, 3, 16, 16, generator=generator, dtype=torch.float64) for _ in range(2)]
        labels = torch.randint(3, (4,), generator=generator)
        yield Batch(images[0], labels, torch.arange(4)), Batch(images[1], labels, torch.arange(4))


def released_loop(model: nn.Module, weights, steps: int) -> None:
    """The notebook's loop: everything through one model, whose mode is train until it is audited after a batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    model.train()
    for weight, (retain, forget) in zip(weights, faces(), strict=True):
        noise = torch.zeros_like(retain.images, requires_grad=True)
        for _ in range(steps):
            noisy_outputs = model((retain.images + noise).clamp(0, 1))
            forget_outputs = model(forget.images).detach()
            distance = functional.mse_loss(noisy_outputs, forget_outputs)
            loss = (
                -distance
                if weight is None
                else weight * functional.cross_entropy(noisy_outputs, retain.labels) - distance
            )
            gradient = torch.autograd.grad(loss, noise)[0]
            noise = (noise - ALPHA * gradient.sign()).detach().requires_grad_(True)
        optimizer.zero_grad()
        trained = (retain.images + noise.detach()).clamp(0, 1)
        functional.cross_entropy(model(trained), retain.labels).backward()
        optimizer.step()
        model.eval()  # The audit after the batch; nothing calls train() again.


def ours(method: Method, monkeypatch) -> nn.Module:
    method.model, method.trainer = small_resnet(), stub_trainer(TASK, BATCHES)
    method.prepare()
    optimizer = method.configure_optimizers()
    monkeypatch.setattr(method, "optimizers", lambda: optimizer)
    for number, (retain, forget) in enumerate(faces()):
        method.training_step({"retain": retain, "forget": forget}, number)
    return method.model


def difference(first: nn.Module, second: nn.Module) -> float:
    values = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in values)


@pytest.mark.parametrize("steps", [2, 5])
def test_gli_and_li_are_the_released_loop_to_the_last_digits(steps, monkeypatch):
    for weights in ([2.0, 6.0], [None] * 2):
        settings = {"lr": LR, "steps": steps, "step_size": ALPHA, "batch_norm": "released"}
        method = LI(**settings) if weights[0] is None else GLI(class_weight=ClassWeight(2, 6), **settings)
        expected = small_resnet()
        released_loop(expected, weights, steps)
        model = ours(method, monkeypatch)
        assert difference(model, expected) < 1e-12
        counted = {int(value) for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
        assert counted == {2 * steps + 1}


def test_without_it_the_inner_steps_leave_the_statistics_alone(monkeypatch):
    expected = small_resnet()
    released_loop(expected, [2.0, 6.0], 2)
    settings = {"lr": LR, "steps": 2, "step_size": ALPHA, "class_weight": ClassWeight(2, 6)}
    model = ours(GLI(batch_norm="train_first", **settings), monkeypatch)
    assert difference(model, expected) > 1e-3
    assert int(model.state_dict()["backbone.bn1.num_batches_tracked"]) == 1


def test_it_is_refused_where_there_are_no_inner_steps():
    with pytest.raises(SettingError, match="methods with inner steps"):
        FineTune(batch_norm="released")


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_a_scale_free_step_of_gli_is_the_step_written_out(task, monkeypatch):
    """w = 0.3 in both tasks; each gradient is divided by its norm per image, in eval mode."""
    from tests.methods.test_methods import TASKS, assert_same, batches, criterion, run, sgd, tiny_model

    task = TASKS[task]
    steps, expected = batches(task), tiny_model().eval()
    weight = ClassWeight(0.3, 0.3, form="convex")
    settings = {"gradients": "normalised", "class_weight": weight, "steps": 3, "step_size": 0.02, "batch_norm": "eval"}
    model = run(GLI(lr=0.1, **settings), task, steps, monkeypatch)
    for retain, forget in steps:
        frozen, eta = copy.deepcopy(expected), torch.zeros_like(retain.images)
        goal = frozen(forget.images).detach()
        for _ in range(3):
            eta.requires_grad_(True)
            logits = frozen((retain.images + eta).clamp(0, 1))
            (towards,) = torch.autograd.grad(criterion(task, logits, retain.labels), eta, retain_graph=True)
            (away,) = torch.autograd.grad(((logits - goal) ** 2).mean(), eta)
            sizes = [gradient.flatten(1).norm(dim=1)[:, None, None, None] for gradient in (towards, away)]
            eta = (eta - 0.02 * (0.3 * towards / sizes[0] - 0.7 * away / sizes[1]).sign()).detach()
        sgd(expected, criterion(task, expected((retain.images + eta).clamp(0, 1)), retain.labels))
    assert_same(model, expected)


def test_the_scale_free_form_needs_a_weight_between_zero_and_one():
    with pytest.raises(SettingError, match=r"--model\.class_weight\.form convex"):
        GLI(gradients="normalised")
