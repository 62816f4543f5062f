"""Every method's step against the same step written out by hand in plain torch, in both tasks."""

import copy
import math
from contextlib import suppress
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gli.data.loading import Batch
from gli.data.recipe import Recipe
from gli.data.tasks import MultiClass, MultiLabel
from gli.errors import SettingError
from gli.methods import (
    GLI,
    LI,
    SCRUB,
    UNSIR,
    AdvancedNegGrad,
    BadTeaching,
    CFk,
    EUk,
    FineTune,
    Method,
    NegGrad,
    NoisyFineTune,
    Original,
    Pass,
    Retrained,
    Served,
    TransposeDistil,
    shipped,
)
from gli.methods.seeding import seeded_randn_like
from gli.models.backbones import build_classifier
from gli.perturbation.class_weight import ClassWeight

LR = 0.1
TASKS = {"multi_class": MultiClass(("a", "b", "c")), "multi_label": MultiLabel(("p", "q", "r"))}


def tiny_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 3))


def other_model() -> nn.Module:
    """As fresh as can be: another network of the same kind."""
    torch.manual_seed(9)
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


def attach(method: Method, task, total=2, world=1) -> None:
    """Give a method its model and a stub of a trainer, and prepare it."""
    method.model = tiny_model()
    method.fresh_classifier = lambda pretrained=False: other_model()
    method.trainer = stub_trainer(task, total, world)
    method.prepare()


def stub_trainer(task, total=2, world=1, rank=0) -> SimpleNamespace:
    """Return a stub with the attributes of the trainer that a method reads."""
    data = TinyData(task)
    epochs = SimpleNamespace(epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=0)))
    return SimpleNamespace(
        world_size=world,
        global_rank=rank,
        datamodule=data,
        estimated_stepping_batches=total,
        current_epoch=0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        fit_loop=epochs,
        should_stop=False,
        _results=None,
    )


class TinyData(SimpleNamespace):
    """A data module of a few random images: the first five are forget, the next six retain, the last five reference."""

    def __init__(self, task):
        recipe = Recipe(lr=LR, momentum=0.0, epochs=2, milestones=(1,))
        super().__init__(task=task, recipe=recipe, identities=[str(row) for row in range(16)], batch_size=3)
        generator = torch.Generator().manual_seed(3)
        shape, top = ((16,), 3) if isinstance(task, MultiClass) else ((16, 3), 2)
        self.images = torch.rand(16, 3, 6, 6, generator=generator)
        self.labels = torch.randint(top, shape, generator=generator)
        self.splits = {"forget": np.arange(5), "retain": np.arange(5, 11), "reference": np.arange(11, 16)}

    def rows(self, name):
        return self.splits[name]

    def batches_of(self, name, rows=None):
        """Batches of two at most, so that a mean over batches is not that over images."""
        wanted = torch.as_tensor(self.splits[name] if rows is None else rows)
        return (Batch(self.images[part], self.labels[part], part) for part in wanted.split(2))

    def to_float(self, batch):
        return batch

    def whole(self, name):
        """All images and labels of a set."""
        rows = torch.as_tensor(self.splits[name])
        return self.images[rows], self.labels[rows]


@pytest.fixture(autouse=True)
def _no_trainer(monkeypatch):
    monkeypatch.setattr(Method, "trainer", None, raising=False)  # A plain attribute instead of Lightning's property.
    monkeypatch.setattr(Method, "manual_backward", lambda self, loss: loss.backward())
    monkeypatch.setattr(Method, "log", lambda *_, **__: None)


def run(method: Method, task, steps, monkeypatch, parts=None) -> nn.Module:
    """The model after the method's own training steps with its own optimiser.

    ``parts`` says which parts each step has, where a method's batches are not all alike.
    """
    attach(method, task, len(steps))
    optimizer = method.configure_optimizers()
    monkeypatch.setattr(method, "optimizers", lambda: optimizer)
    for number, (retain, forget) in enumerate(steps):
        both = {"retain": retain, "forget": forget}
        named = parts[number] if parts else method.passes_in(0)[0].sets
        method.training_step({part: both[part] for part in named}, number)
    return method.model


def assert_same(model: nn.Module, expected: nn.Module) -> None:
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
    assert_same(model, expected)


def perturbed_by_hand(model, task, retain, forget, *, weights, steps, step_size, distance, convex):
    """Algorithm 1's inner loop, from zero noise, on a copy of the model."""
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
    assert_same(model, expected)
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
    assert_same(model, expected)
    assert_same(method.teacher("original"), tiny_model())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_li_takes_the_step_worked_out_by_hand(task, monkeypatch):
    steps, expected = batches(task), tiny_model()
    model = run(LI(lr=LR, steps=3, step_size=0.02), task, steps, monkeypatch)
    for number, (retain, forget) in enumerate(steps):
        expected.train(number == 0)
        inner = {"weights": [0] * 3, "steps": 3, "step_size": 0.02, "distance": "mse", "convex": False}
        images = perturbed_by_hand(expected, task, retain, forget, **inner)
        sgd(expected, criterion(task, expected(images), retain.labels))
    assert_same(model, expected)


def test_li_is_gli_without_a_class_weight(monkeypatch):
    task = TASKS["multi_class"]
    kept = run(LI(lr=LR, steps=2), task, batches(task), monkeypatch)
    assert_same(run(GLI(lr=LR, steps=2, class_weight=ClassWeight(0, 0)), task, batches(task), monkeypatch), kept)


def test_start_noise_has_the_given_spread():
    method = LI(steps=0, init_std=0.01)
    attach(method, TASKS["multi_class"])
    images = torch.full((8, 3, 6, 6), 0.5)
    batch = Batch(images, torch.zeros(8, dtype=torch.long), torch.arange(8))
    torch.manual_seed(0)
    spread = (method.perturbed(batch, batch) - images).std().item()
    assert math.isclose(spread, 0.01, rel_tol=0.1)


def test_perturbing_in_train_mode_leaves_batch_norm_statistics_to_the_training_step():
    method = GLI(steps=2, batch_norm="train")
    attach(method, TASKS["multi_class"])
    method.model.train()
    before = copy.deepcopy(method.model.state_dict())
    method.perturbed(*batches(method.task)[0])
    assert all(torch.equal(before[name], value) for name, value in method.model.state_dict().items())


def divergence(task, logits, teacher, temperature):
    """KL(teacher || student) in plain torch: sum over classes or labels, mean over the batch, times T squared."""
    student, teacher = logits / temperature, teacher / temperature
    if isinstance(task, MultiClass):
        p, q = teacher.softmax(dim=1), student.softmax(dim=1)
        each = (p * (p / q).log()).sum(dim=1)
    else:
        p, q = teacher.sigmoid(), student.sigmoid()
        each = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(dim=1)
    return temperature**2 * each.mean()


in_both_tasks = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def frozen_to_the_bit(model: nn.Module) -> bool:
    """Whether all but the last layer, statistics included, is as it was at the start."""
    frozen = model[:4].state_dict()
    return all(torch.equal(frozen[name], value) for name, value in tiny_model()[:4].state_dict().items())


def only_last(model: nn.Module, loss: torch.Tensor) -> None:
    """A step of SGD on the last layer alone."""
    parameters = list(model[4].parameters())
    with torch.no_grad():
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter -= LR * gradient


@in_both_tasks
def test_cf_k_trains_the_last_block_and_leaves_the_rest_bit_identical(task, monkeypatch):
    steps, expected = batches(task), tiny_model()
    model = run(CFk(k=1, lr=LR), task, steps, monkeypatch)
    expected[:4].eval()
    for retain, _ in steps:
        only_last(expected, criterion(task, expected(retain.images), retain.labels))
    assert_same(model, expected)
    assert frozen_to_the_bit(model)


@in_both_tasks
def test_eu_k_reinitialises_the_last_block_and_trains_it_by_the_recipe(task, monkeypatch):
    steps, expected = batches(task), tiny_model()
    expected[4].load_state_dict(other_model()[4].state_dict())
    model = run(EUk(k=1), task, steps, monkeypatch)
    expected[:4].eval()
    for retain, _ in steps:
        only_last(expected, criterion(task, expected(retain.images), retain.labels))
    assert_same(model, expected)
    assert frozen_to_the_bit(model)


def test_eu_k_follows_the_recipes_schedule_and_epochs():
    method = EUk(k=1)
    attach(method, TASKS["multi_class"])
    assert method.lr_factor() == 1
    method.trainer.current_epoch = 1
    assert method.lr_factor() == pytest.approx(0.1)
    method.trainer.datamodule.recipe = Recipe(schedule="linear", warmup=0.5)
    method.trainer.estimated_stepping_batches, factors = 4, []
    for method.iteration in range(4):
        factors.append(method.lr_factor())
    assert factors == pytest.approx([0.25, 0.75, 0.75, 0.25])
    assert method.default_epochs(Recipe(epochs=7)) == 7


@in_both_tasks
@pytest.mark.parametrize(("alpha", "weights"), [(None, (1, 1)), (0.95, (0.95, 0.05))])
def test_advanced_neg_grad_descends_on_retain_and_ascends_on_forget_in_one_step(alpha, weights, task, monkeypatch):
    steps, expected = batches(task), tiny_model()
    model = run(AdvancedNegGrad(alpha=alpha, lr=LR), task, steps, monkeypatch)
    for retain, forget in steps:
        down = criterion(task, expected(retain.images), retain.labels)
        up = criterion(task, expected(forget.images), forget.labels)
        sgd(expected, weights[0] * down - weights[1] * up)
    assert_same(model, expected)


@in_both_tasks
def test_unsir_impairs_with_noise_far_from_forget_and_then_repairs(task, monkeypatch):
    """Noise from a standard normal, steps of Adam written out, clipped at the end; then a step of fine-tuning."""
    steps, expected = batches(task), tiny_model().eval()
    method = UNSIR(lr=LR, noise_steps=3, noise_lr=0.05)
    noise = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    monkeypatch.setattr("gli.methods.unsir.seeded_randn_like", lambda images, method: noise.clone())
    model = run(method, task, steps, monkeypatch, parts=[("retain", "forget"), ("retain",)])

    (retain, forget), (later, _) = steps
    goal = expected(forget.images).detach()
    mean, square = torch.zeros_like(noise), torch.zeros_like(noise)
    for step in (1, 2, 3):
        noise.requires_grad_(True)
        (gradient,) = torch.autograd.grad(-((expected(noise) - goal) ** 2).mean(), noise)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        move = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        noise = (noise - 0.05 * move).detach()
    impaired = criterion(task, expected(noise.clamp(0, 1)), retain.labels)
    sgd(expected, impaired + criterion(task, expected(retain.images), retain.labels))
    sgd(expected, criterion(task, expected(later.images), later.labels))
    assert_same(model, expected)


def test_unsir_is_two_stages_one_pass_over_forget_each_epoch_and_then_over_retain():
    method = UNSIR(impair_epochs=2, repair_epochs=1)
    assert method.default_epochs(Recipe()) == 3
    assert [list(one.sets) for epoch in range(3) for one in method.passes_in(epoch)] == [
        ["retain", "forget"],
        ["retain", "forget"],
        ["retain"],
    ]
    assert [method.passes_in(epoch)[0].over for epoch in range(3)] == ["forget", "forget", "retain"]
    assert [method.stage(epoch)[:7] for epoch in range(4)] == ["stage 1", "stage 1", "stage 2", "stage 2"]


def test_noise_of_several_processes_is_the_noise_of_one():
    images = torch.zeros(6, 3, 4, 4)
    alone, parts = UNSIR(), []
    attach(alone, TASKS["multi_class"])
    torch.manual_seed(3)
    whole = seeded_randn_like(images, alone)
    torch.rand(5)  # Whatever is drawn in between.
    assert torch.equal(seeded_randn_like(images, alone), whole)
    alone.iteration = 1
    assert not torch.equal(seeded_randn_like(images, alone), whole)
    for rank in range(3):
        method = UNSIR()
        attach(method, TASKS["multi_class"], world=3)
        method.trainer.global_rank = rank
        torch.manual_seed(3)
        parts.append(seeded_randn_like(images[:2], method))
    assert torch.equal(torch.cat(parts), whole)
    assert whole.std().item() == pytest.approx(1, abs=0.2)


@in_both_tasks
@pytest.mark.parametrize(
    ("alpha", "gamma", "temperature", "momentum", "decay"), [(1, 1, 4, 0, 0), (0.3, 0.99, 2, 0.9, 0.01)]
)
def test_scrub_disobeys_on_forget_and_obeys_on_retain(alpha, gamma, temperature, momentum, decay, task, monkeypatch):
    steps, expected, teacher = batches(task, 3), tiny_model(), tiny_model().eval()
    settings = {"alpha": alpha, "gamma": gamma, "temperature": temperature}
    method = SCRUB(lr=LR, momentum=momentum, weight_decay=decay, **settings)
    # A min step first: at the very start the student is its teacher (but for BatchNorm) and has nothing to disobey.
    model = run(method, task, steps, monkeypatch, parts=[("retain",), ("forget",), ("retain",)])
    velocity = [torch.zeros_like(parameter) for parameter in expected.parameters()]
    for number, (retain, forget) in enumerate(steps):
        batch = forget if number == 1 else retain
        logits = expected(batch.images)
        kl = divergence(task, logits, teacher(batch.images).detach(), temperature)
        loss = -kl if number == 1 else alpha * kl + gamma * criterion(task, logits, batch.labels)
        gradients = torch.autograd.grad(loss, list(expected.parameters()))
        with torch.no_grad():
            for parameter, gradient, speed in zip(expected.parameters(), gradients, velocity, strict=True):
                step = gradient + decay * parameter
                speed.copy_(step if number == 0 else momentum * speed + step)
                parameter -= LR * speed
    assert_same(model, expected)
    assert_same(method.teacher("original"), tiny_model())


def test_scrub_schedules():
    """The benchmark: min then max in both of two epochs; the paper: max then min in the first msteps of three."""
    benchmark, paper = SCRUB(), SCRUB(first="max", msteps=2, forget_batch_size=32, retain_batch_size=128)
    assert [[next(iter(one.sets)) for one in benchmark.passes_in(epoch)] for epoch in (0, 1)] == [
        ["retain", "forget"]
    ] * 2
    assert [[next(iter(one.sets)) for one in paper.passes_in(epoch)] for epoch in (0, 1, 2)] == [
        ["forget", "retain"],
        ["forget", "retain"],
        ["retain"],
    ]
    assert [one.batch_size for one in paper.passes_in(0)] == [32, 128]


@in_both_tasks
def test_bad_teaching_has_each_image_taught_by_the_teacher_of_its_set(task, monkeypatch):
    steps, expected = batches(task), tiny_model()
    steps[1] = (Batch(*(value[:2] for value in steps[1][0][:3])), steps[1][1])  # A batch is mixed as it comes.
    good, bad = tiny_model().eval(), other_model().eval()
    method = BadTeaching(lr=LR, optimizer="sgd", temperature=2)
    model = run(method, task, steps, monkeypatch)
    for retain, forget in steps:
        logits = expected(torch.cat([retain.images, forget.images]))
        lessons = torch.cat([good(retain.images), bad(forget.images)]).detach()
        sgd(expected, divergence(task, logits, lessons, 2) / 2**2)
    assert_same(model, expected)
    assert_same(method.teacher("original"), tiny_model())
    assert_same(method.teacher("incompetent"), other_model())


def test_bad_teaching_takes_its_first_step_with_adam(monkeypatch):
    task = TASKS["multi_class"]
    steps = batches(task, 1)
    model = run(BadTeaching(lr=0.01), task, steps, monkeypatch)
    moved = [
        (after - before).abs().max()
        for after, before in zip(model.parameters(), tiny_model().parameters(), strict=True)
    ]
    assert max(moved).item() == pytest.approx(
        0.01, rel=1e-3
    )  # Adam's first step is the learning rate, whatever the scale.


def test_bad_teaching_survives_a_batch_without_an_image_of_one_set(monkeypatch):
    task = TASKS["multi_class"]
    (retain, forget), _ = batches(task)
    nobody = Batch(*(value[:0] for value in retain[:3]))
    for step in ((nobody, forget), (retain, nobody)):
        model = run(BadTeaching(), task, [step], monkeypatch)
        assert all(value.isfinite().all() for value in model.state_dict().values())


METHODS = list(shipped().values())


def teachers_of(method: Method) -> list[nn.Module]:
    """Return the teachers that a method keeps."""
    kept = []
    for name in ("original", "incompetent"):
        with suppress(RuntimeError):
            kept.append(method.teacher(name))
    return kept


def test_a_teacher_that_was_not_kept_is_refused_by_name():
    method = FineTune()
    attach(method, TASKS["multi_class"])
    assert teachers_of(method) == []
    with pytest.raises(RuntimeError, match="keep_teacher\\('original'"):
        method.teacher("original")


@pytest.mark.parametrize("method", [*METHODS, lambda: GLI(features="original")])
def test_the_optimiser_holds_the_student_only_and_a_teacher_is_another_model(method):
    method = method()
    if isinstance(method, CFk | EUk):
        method.k = 1
    only_head = isinstance(method, CFk | EUk | NoisyFineTune)
    if isinstance(method, Served):
        with pytest.raises(SettingError, match="find_or_train"):
            attach(method, TASKS["multi_class"])
        return
    attach(method, TASKS["multi_class"])
    optimizer = method.configure_optimizers()
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    trained = method.model[4] if only_head else method.model
    assert held == {id(parameter) for parameter in trained.parameters()}
    for teacher in teachers_of(method):
        assert not any(id(parameter) in held or parameter.requires_grad for parameter in teacher.parameters())
        assert not any(module.training for module in teacher.modules())
        storage = {value.data_ptr() for value in teacher.state_dict().values()}
        assert not storage & {value.data_ptr() for value in method.model.state_dict().values()}
    assert all(name.startswith("model.") for name in method.state_dict())


def test_bad_teaching_mixes_forget_with_a_share_of_retain():
    (one,) = BadTeaching(retain_share=0.4, batch_size=32).passes_in(0)
    assert one == Pass("retain", "forget", mixed=True, shares={"retain": 0.4}, batch_size=32)
    (one,) = BadTeaching().passes_in(0)
    assert (one.shares, one.batch_size) == ({"retain": 0.3}, 256)


def test_transpose_distil_takes_small_batches_of_retain():
    assert TransposeDistil(batch_size=16).passes_in(0) == (Pass("retain", batch_size=16),)
    assert TransposeDistil().passes_in(0) == (Pass("retain"),)


def test_epochs_and_passes_are_those_of_the_benchmark():
    epochs = {name: method().default_epochs(Recipe(epochs=9, retrained_epochs=7)) for name, method in shipped().items()}
    assert (
        epochs
        | {
            **{"Original": 9, "Retrained": 7, "EUk": 9, "FineTune": 2, "CFk": 2, "NegGrad": 2, "AdvancedNegGrad": 2},
            **{"UNSIR": 3, "SCRUB": 2, "BadTeaching": 1, "LI": 1, "GLI": 1},
        }
        == epochs
    )
    assert Original().passes_in(0) == (Pass(retain="train"),)
    for method in (Retrained, FineTune, CFk, EUk):
        assert method().passes_in(0) == (Pass("retain"),)
    for method in (AdvancedNegGrad, LI, GLI):
        assert method().passes_in(0) == (Pass("retain", "forget"),)
        assert method().passes_in(0)[0].over == "retain"


@pytest.mark.parametrize("distance", ["l1", "cosine"])
def test_unsir_goes_by_the_distance_that_it_is_given(distance, monkeypatch):
    """One step of Adam moves every pixel against the sign of the gradient of minus that distance."""
    method = UNSIR(distance=distance, noise_steps=1, noise_lr=0.01)
    attach(method, TASKS["multi_class"])
    method.model.eval()
    start, forget = torch.full((5, 3, 6, 6), 0.5), batches(method.task)[0][1]
    start += torch.linspace(0, 0.1, start.numel()).reshape(start.shape)
    monkeypatch.setattr("gli.methods.unsir.seeded_randn_like", lambda images, method: start.clone())
    goal, pixels = method.model(forget.images).detach(), start.clone().requires_grad_(True)
    logits = method.model(pixels)
    far = {
        "l1": (logits - goal).abs().sum(),
        "cosine": -((logits * goal).sum(dim=1) / (logits.norm(dim=1) * goal.norm(dim=1))).sum(),
    }[distance]
    (gradient,) = torch.autograd.grad(-far, pixels)
    sure = gradient.abs() > 1e-4  # Where Adam's epsilon does not matter.
    torch.testing.assert_close(method.noise(forget)[sure], (start - 0.01 * gradient.sign())[sure], rtol=0, atol=1e-4)


def test_blocks_are_reinitialised_like_the_original_and_an_incompetent_teacher_is_untrained(monkeypatch):
    """ImageNet weights for EU-k's parts where the original had them, for Bad Teaching's teacher never."""
    wanted = []
    for method in (EUk(k=1, pretrained=True), EUk(k=1), BadTeaching(pretrained=True)):
        method.model, method.trainer = tiny_model(), stub_trainer(TASKS["multi_class"])
        monkeypatch.setattr(
            method, "fresh_classifier", lambda pretrained=False: wanted.append(pretrained) or other_model()
        )
        method.prepare()
    assert wanted == [True, False, False]


def test_a_fresh_network_is_not_the_one_that_the_original_began_as():
    method = BadTeaching(backbone="resnet18_slim")
    method.trainer = stub_trainer(TASKS["multi_class"])
    torch.manual_seed(5)
    fresh = method.fresh_classifier().state_dict()["backbone.fc.weight"]
    torch.manual_seed(5)
    begun = build_classifier("resnet18_slim", 3).state_dict()["backbone.fc.weight"]
    assert not torch.equal(fresh, begun)


def test_fresh_networks_are_the_same_for_the_same_seed_and_leave_the_generator_alone():
    methods = []
    for seed in (1, 1, 2):
        method = BadTeaching(backbone="resnet18_slim")
        method.trainer = stub_trainer(TASKS["multi_class"])
        torch.manual_seed(seed)
        torch.rand(len(methods))  # Whatever was drawn before.
        before, start = torch.get_rng_state(), torch.initial_seed()
        methods.append(method.fresh_classifier().state_dict())
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.initial_seed() == start
    assert all(torch.equal(methods[0][name], methods[1][name]) for name in methods[0])
    assert not torch.equal(methods[0]["backbone.fc.weight"], methods[2]["backbone.fc.weight"])


def test_blocks_frozen_in_prepare_keep_their_statistics(monkeypatch):
    """A method of one's own may freeze as it likes."""

    class Head(FineTune):
        def prepare(self):
            self.model[:4].requires_grad_(False)

    model = run(Head(lr=LR, weight_decay=0.1), TASKS["multi_class"], batches(TASKS["multi_class"]), monkeypatch)
    assert frozen_to_the_bit(model)
    assert model[4].training
    assert not model[1].training


def test_every_method_is_a_lightning_module_with_manual_optimisation():
    for method in METHODS:
        assert issubclass(method, L.LightningModule)
        assert method().automatic_optimization is False


def test_neg_grad_loads_no_retain_images_but_counts_its_epoch_by_them():
    (one,) = NegGrad().passes_in(0)
    assert one == Pass("forget", over="retain")
