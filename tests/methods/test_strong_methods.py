"""Two steps of the methods that win elsewhere, written out by hand in plain torch, in both tasks; and their traps."""

import copy
import inspect
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gli.data import SyntheticFaces
from gli.data.recipe import Recipe
from gli.data.tasks import MultiClass, MultiLabel
from gli.errors import SettingError
from gli.methods import (
    CT,
    MSG,
    SSD,
    AdvancedNegGrad,
    FineTune,
    L1Sparse,
    LoTUS,
    Method,
    NoisyFineTune,
    RandomLabels,
    RetrainBriefly,
    Retrained,
    SalUn,
    SFRon,
    TransposeDistil,
)
from gli.methods.ct import square_convolutions
from gli.methods.seeding import rand_of_images, seeded_generator
from gli.methods.settings import cosine, require_loss, warmup
from gli.methods.sweeps import gradients_over, mean_over
from gli.models.backbones import build_classifier
from tests.methods.test_methods import (
    LR,
    TASKS,
    TinyData,
    assert_same,
    attach,
    batches,
    criterion,
    in_both_tasks,
    other_model,
    run,
    tiny_model,
)

MOMENTUM, DECAY = 0.9, 0.01
OWN = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "batch_norm": "eval"}


@pytest.fixture(autouse=True)
def _no_trainer(monkeypatch):
    monkeypatch.setattr(Method, "trainer", None, raising=False)
    monkeypatch.setattr(Method, "manual_backward", lambda self, loss: loss.backward())
    monkeypatch.setattr(Method, "log", lambda *_, **__: None)


class Momentum:
    """SGD with momentum and weight decay in plain torch."""

    def __init__(self, model: nn.Module, momentum=MOMENTUM, decay=DECAY):
        self.parameters = list(model.parameters())
        self.velocity = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self, gradients, lr=LR):
        for parameter, gradient, velocity in zip(self.parameters, gradients, self.velocity, strict=True):
            velocity.mul_(self.momentum).add_(gradient + self.decay * parameter)
            parameter -= lr * velocity


def gradients_of(model: nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def on_set(model: nn.Module, task, data: TinyData, name: str, rows=None) -> list[torch.Tensor]:
    """The gradient of the mean loss over a set, in eval mode."""
    images, labels = data.whole(name) if rows is None else (data.images[rows], data.labels[rows])
    frozen = copy.deepcopy(model).eval()
    return gradients_of(frozen, criterion(task, frozen(images), labels))


@in_both_tasks
@pytest.mark.parametrize("schedule", [None, "cosine"])
def test_ct_transposes_every_kernel_and_fine_tunes(schedule, task, monkeypatch):
    steps, expected = batches(task), tiny_model().eval()
    model = run(CT(schedule=schedule, **OWN), task, steps, monkeypatch)
    with torch.no_grad():
        expected[0].weight.copy_(torch.stack([torch.stack([k.T for k in f]) for f in expected[0].weight.clone()]))
    optimizer = Momentum(expected)
    for number, (retain, _) in enumerate(steps):
        loss = criterion(task, expected(retain.images), retain.labels)
        optimizer.step(gradients_of(expected, loss), lr=LR * (1, 0.5)[number] if schedule else LR)
    assert_same(model, expected)


def test_transposed_kernels_answer_the_transposed_image_as_the_original_answers_the_image():
    """Why an attacker who knows CT shows transposed images."""
    original = build_classifier("resnet18_slim", 3).double().eval()
    transposed = copy.deepcopy(original)
    with torch.no_grad():
        for layer in square_convolutions(transposed):
            layer.weight.copy_(layer.weight.transpose(2, 3).clone())
        images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
        assert torch.allclose(transposed(images.transpose(2, 3)), original(images), atol=1e-12)
        assert not torch.allclose(transposed(images), original(images), atol=1e-3)


@in_both_tasks
def test_transpose_distil_imitates_the_original_on_retain_from_transposed_kernels(task, monkeypatch):
    steps, expected, original = batches(task), tiny_model().eval(), tiny_model().eval()
    model = run(TransposeDistil(temperature=3.0, schedule=None, **OWN), task, steps, monkeypatch)
    with torch.no_grad():
        expected[0].weight.copy_(expected[0].weight.transpose(2, 3).clone())
    optimizer = Momentum(expected)
    for retain, _ in steps:
        with torch.no_grad():
            taught = original(retain.images) / 3
        logits = expected(retain.images) / 3
        if isinstance(task, MultiLabel):
            p, q = taught.sigmoid(), logits.sigmoid()
            divergence = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(dim=1)
        else:
            p, q = taught.softmax(dim=1), logits.softmax(dim=1)
            divergence = (p * (p / q).log()).sum(dim=1)
        optimizer.step(gradients_of(expected, 9 * divergence.mean()))
    assert_same(model, expected)


def test_ct_refuses_a_network_without_kernels(monkeypatch):
    CT(backbone="resnet18_slim").check()
    monkeypatch.setattr(
        "gli.methods.ct.build_classifier", lambda *_: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 1))
    )
    with pytest.raises(SettingError, match="no kernels that CT could transpose"):
        CT().check()
    patches = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Flatten(), nn.Linear(8, 2))
    assert square_convolutions(patches) == []  # As a transformer has them.
    frozen = nn.Sequential(nn.Conv2d(3, 4, 3).requires_grad_(False), nn.Conv2d(4, 4, 3))
    assert square_convolutions(frozen) == [frozen[1]]


def test_a_method_shows_its_settings_and_names_the_one_that_was_meant():
    assert {"temperature", "lr", "weight_decay"} <= inspect.signature(TransposeDistil).parameters.keys()
    assert repr(TransposeDistil(temperature=3.0)) == "TransposeDistil(temperature=3.0)"
    with pytest.raises(TypeError, match=r"CT has no setting 'learning_rate'\. Did you mean 'lr'"):
        CT(learning_rate=1)
    with pytest.raises(TypeError, match=r"CT has no setting 'x'\. It has lr, momentum"):
        CT(x=1)


def test_what_is_no_loss_is_refused():
    weight = torch.ones(2, requires_grad=True)
    require_loss("Pull", weight.sum())
    for value, shown in (
        (1.0, "a float"),
        (weight, r"a tensor of shape \(2,\) with a"),
        (torch.ones(()), r"a tensor of shape \(\) without a"),
    ):
        with pytest.raises(
            SettingError, match=rf"Pull\.unlearn returned {shown}.*; return a scalar tensor with a gradient"
        ):
            require_loss("Pull", value)


@in_both_tasks
def test_msg_reinitialises_small_gradients_and_slows_the_others_but_not_their_weight_decay(task, monkeypatch):
    steps, expected = batches(task), tiny_model().eval()
    method = MSG(share=0.25, slow=0.1, schedule=None, **OWN)
    monkeypatch.setattr("gli.methods.msg.seeded_generator", lambda *_, **__: torch.Generator().manual_seed(7))
    torch.manual_seed(0)
    model = run(method, task, steps, monkeypatch)

    data = TinyData(task)
    part = np.sort(np.random.default_rng([torch.initial_seed() % 2**32, 1]).permutation(data.rows("retain"))[:5])
    gap = on_set(expected, task, data, "retain", part)[0] - on_set(expected, task, data, "forget")[0]
    places = gap.abs().flatten().argsort()[:27]  # A quarter of 4 * 3 * 3 * 3.
    mask = torch.zeros(108).scatter(0, places, 1.0).view(4, 3, 3, 3).bool()
    drawn = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(7)) * math.sqrt(2 / (4 * 9))
    with torch.no_grad():
        expected[0].weight[mask] = drawn[mask]
    optimizer = Momentum(expected)
    for retain, _ in steps:
        gradients = gradients_of(expected, criterion(task, expected(retain.images), retain.labels))
        gradients[0] = gradients[0] * torch.where(mask, 1.0, 0.1)
        optimizer.step(gradients)
    assert_same(model, expected)


@in_both_tasks
def test_random_labels_are_other_labels_and_both_sets_are_trained_on(task, monkeypatch):
    steps, expected = batches(task), tiny_model().eval()
    torch.manual_seed(0)
    method = RandomLabels(**OWN)
    model = run(method, task, steps, monkeypatch)
    optimizer = Momentum(expected)
    for retain, forget in steps:
        wrong = method.wrong_labels(forget)
        logits = expected(torch.cat([retain.images, forget.images]))
        labels = torch.cat([retain.labels, wrong])
        optimizer.step(gradients_of(expected, criterion(task, logits, labels)))
        different = wrong != forget.labels
        assert (different if different.ndim == 1 else different.any(dim=1)).all()
    assert_same(model, expected)


@pytest.mark.parametrize("task", [MultiClass(tuple("abcde")), MultiLabel(tuple("pqr"))], ids=TASKS)
def test_every_other_label_is_equally_likely(task):
    own = torch.tensor([2]) if isinstance(task, MultiClass) else torch.tensor([[1, 0, 1]])
    count = 4 if isinstance(task, MultiClass) else 7
    uniform = (torch.arange(count * 10) + 0.5) / (count * 10)
    drawn = task.other_labels(own.expand(len(uniform), *own.shape[1:]), uniform)
    values, counts = drawn.reshape(len(uniform), -1).unique(dim=0, return_counts=True)
    assert counts.tolist() == [10] * count
    assert not (values == own.reshape(1, -1)).all(dim=1).any()


def test_an_image_keeps_its_random_label_in_any_batch_and_process():
    method = RandomLabels()
    attach(method, TASKS["multi_class"])
    torch.manual_seed(0)
    whole = rand_of_images(torch.arange(16), 2, method)
    torch.rand(3)
    method.iteration = 5
    assert torch.equal(rand_of_images(torch.tensor([7, 3]), 2, method), whole[[7, 3]])
    assert not torch.equal(rand_of_images(torch.arange(16), 2, method, 1), whole)


@in_both_tasks
def test_sal_un_moves_salient_weights_only_in_spite_of_momentum_and_weight_decay(task, monkeypatch):
    steps, expected = batches(task), tiny_model().eval()
    torch.manual_seed(0)
    method = SalUn(share=0.3, **OWN)
    model = run(method, task, steps, monkeypatch)

    salience = torch.cat([g.abs().flatten() for g in on_set(expected, task, TinyData(task), "forget")])
    chosen = torch.zeros_like(salience)
    chosen[salience.argsort(descending=True)[: round(0.3 * len(salience))]] = 1
    masks = chosen.split([parameter.numel() for parameter in expected.parameters()])
    masks = [mask.view_as(p) for mask, p in zip(masks, expected.parameters(), strict=True)]
    velocity = [torch.zeros_like(parameter) for parameter in expected.parameters()]
    for retain, forget in steps:
        logits = expected(torch.cat([retain.images, forget.images]))
        loss = criterion(task, logits, torch.cat([retain.labels, method.wrong_labels(forget)]))
        gradients = gradients_of(expected, loss)
        with torch.no_grad():
            for parameter, gradient, speed, mask in zip(expected.parameters(), gradients, velocity, masks, strict=True):
                speed.mul_(MOMENTUM).add_(mask * (gradient + DECAY * parameter))
                parameter -= LR * speed
    assert_same(model, expected)
    for (name, value), start, mask in zip(model.named_parameters(), tiny_model().parameters(), masks, strict=True):
        assert torch.equal(value[mask == 0], start[mask == 0]), name


@in_both_tasks
def test_l1_sparse_adds_a_penalty_that_decays(task, monkeypatch):
    steps, expected = batches(task), tiny_model().eval()
    model = run(L1Sparse(alpha=0.02, **OWN), task, steps, monkeypatch)
    optimizer = Momentum(expected)
    for number, (retain, _) in enumerate(steps):
        gradients = gradients_of(expected, criterion(task, expected(retain.images), retain.labels))
        penalty = (0.02, 0.01)[number]
        signs = [parameter.detach().sign() for parameter in expected.parameters()]
        optimizer.step([g + penalty * sign for g, sign in zip(gradients, signs, strict=True)])
    assert_same(model, expected)


@in_both_tasks
def test_ssd_dampens_once_in_the_last_iteration(task, monkeypatch):
    """Two batches of forget and one of retain; alpha is small, so that there is something to dampen."""
    (_, first), (retain, second) = batches(task)
    steps, start = [(None, first), (None, second), (retain, None)], tiny_model().eval()
    method = SSD(alpha=0.5, dampening=0.8)
    model = run(method, task, steps, monkeypatch, parts=[("forget",), ("forget",), ("retain",)])
    squares = [
        [g**2 for g in gradients_of(start, criterion(task, start(batch.images), batch.labels))]
        for batch in (first, second, retain)
    ]
    expected, dampened = copy.deepcopy(start), 0
    with torch.no_grad():
        for place, parameter in enumerate(expected.parameters()):
            of_forget, of_retain = (squares[0][place] + squares[1][place]) / 2, squares[2][place]
            for where in range(parameter.numel()):
                up, down = of_forget.view(-1)[where].item(), of_retain.view(-1)[where].item()
                if up > 0.5 * down:
                    parameter.view(-1)[where] *= min(1.0, 0.8 * down / up)
                    dampened += 1
    assert_same(model, expected)
    assert 0 < dampened < sum(parameter.numel() for parameter in start.parameters())


def test_ssd_leaves_the_model_alone_before_the_last_iteration(monkeypatch):
    task = TASKS["multi_class"]
    ((_, forget), _), method = batches(task), SSD(alpha=0.1)
    with pytest.raises(SettingError, match="and retain, but this run ends after 1"):
        attach(method, task, total=1)
    attach(method, task, total=3)
    optimizer = method.configure_optimizers()
    monkeypatch.setattr(method, "optimizers", lambda: optimizer)
    method.training_step({"forget": forget}, 0)
    assert_same(method.model, tiny_model())
    state = {}
    method.on_save_checkpoint(state)
    assert state["method_state"]["batches"] == {"retain": 0, "forget": 1}
    resumed = SSD(alpha=0.1)
    resumed.on_load_checkpoint(state)
    assert resumed.iteration == 1
    assert resumed.squares["forget"].keys() == method.squares["forget"].keys() != set()


@in_both_tasks
def test_sfr_on_ascends_with_a_mask_and_weights_now_and_then_and_descends_always(task, monkeypatch):
    """``every`` is 1, so that both steps ascend; the second at half of the scale, both with one momentum."""
    steps, expected = batches(task), tiny_model().eval()
    model = run(SFRon(every=1, scale=3, ascent_clip=0.05, **OWN), task, steps, monkeypatch)
    data = TinyData(task)

    def fisher(name):
        rows = torch.as_tensor(data.rows(name))
        parts = [[g**2 for g in on_set(expected, task, data, name, part)] for part in rows.split(3)]
        return [sum(each) / len(parts) for each in zip(*parts, strict=True)]

    masks = [(f >= r).float() for f, r in zip(fisher("forget"), fisher("retain"), strict=True)]
    assert 0 < sum(mask.sum() for mask in masks) < sum(mask.numel() for mask in masks)
    optimizer = Momentum(expected)
    for number, (retain, forget) in enumerate(steps):
        logits = expected(forget.images)
        if isinstance(task, MultiClass):
            losses = functional.cross_entropy(logits, forget.labels, reduction="none")
        else:
            losses = functional.binary_cross_entropy_with_logits(logits, forget.labels.float(), reduction="none")
            losses = losses.mean(dim=1)
        weights = 1 / losses.detach().sqrt()
        weights = len(weights) * weights / weights.sum()
        ascent = -(3, 1.5)[number] * (weights * losses).sum() / len(losses)
        gradients = [m * g for m, g in zip(masks, gradients_of(expected, ascent), strict=True)]
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        assert norm > 0.05
        optimizer.step([0.05 * g / (norm + 1e-6) for g in gradients])
        optimizer.step(gradients_of(expected, criterion(task, expected(retain.images), retain.labels)))
    assert_same(model, expected)


def test_sfr_on_ascends_in_every_fifth_iteration_only(monkeypatch):
    task, ascents = TASKS["multi_class"], []
    method = SFRon(**OWN)
    monkeypatch.setattr(method, "ascend", lambda forget: ascents.append(method.iteration))
    run(method, task, batches(task, 7), monkeypatch)
    assert ascents == [0, 5]


@in_both_tasks
def test_lotus_learns_sampled_targets_at_the_temperature_of_what_it_remembers(task, monkeypatch):
    steps, teacher = batches(task), tiny_model().eval()
    noise = torch.rand(5, 3, generator=torch.Generator().manual_seed(5)).clamp(1e-7, 1 - 1e-7)
    method = LoTUS(lr=LR, optimizer="sgd", batch_norm="eval", alpha=2, stop_at_reference=False)
    monkeypatch.setattr("gli.methods.lo_tus.rand_of_images", lambda index, columns, *_: noise)
    model = run(method, task, steps, monkeypatch)

    data = TinyData(task)

    def accuracy(name):
        images, labels = data.whole(name)
        logits = teacher(images)
        hits = logits.argmax(dim=1) == labels if isinstance(task, MultiClass) else (logits > 0) == (labels > 0)
        return hits.double().mean().item()

    tau = math.exp(2 * (accuracy("forget") - accuracy("reference")))
    assert method.temperature == pytest.approx(tau)
    assert tau != 1
    expected = tiny_model().eval()
    for retain, forget in steps:
        rows = []
        for batch, soft in ((retain, False), (forget, True)):
            logits = teacher(batch.images).detach()
            if isinstance(task, MultiClass):
                sample = logits - (-noise.log()).log()
                hard = torch.eye(3)[sample.argmax(dim=1)]
                rows.append((sample / tau).softmax(dim=1) if soft else hard)
            else:
                sample = logits + (noise / (1 - noise)).log()
                rows.append((sample / tau).sigmoid() if soft else (sample > 0).float())
        goal, logits = torch.cat(rows), expected(torch.cat([retain.images, forget.images]))
        if isinstance(task, MultiClass):
            loss = -(goal * logits.log_softmax(dim=1)).sum(dim=1).mean()
        else:
            loss = -(goal * logits.sigmoid().log() + (1 - goal) * (1 - logits.sigmoid()).log()).mean()
        with torch.no_grad():
            for parameter, gradient in zip(expected.parameters(), gradients_of(expected, loss), strict=True):
                parameter -= LR * gradient
    assert_same(model, expected)


def test_lotus_stops_when_nothing_is_left_to_forget(monkeypatch):
    method = LoTUS()
    attach(method, TASKS["multi_class"])
    for accuracy, stops in ((0.9, False), (0.4, True)):
        method._goal = 0.4
        monkeypatch.setattr(method, "accuracy", lambda name, accuracy=accuracy: accuracy)
        method.update_temperature()
        assert method.temperature == pytest.approx(math.exp(2 * (accuracy - 0.4)))
        assert method.trainer.should_stop is stops


@in_both_tasks
def test_noisy_fine_tuning_clips_and_adds_noise_to_the_head(task, monkeypatch):
    steps, expected = batches(task), tiny_model().eval()
    torch.manual_seed(0)
    method = NoisyFineTune(lr=LR, weight_decay=0.5, weight_norm=0.7, gradient_clip=0.05, noise=0.3)
    clipping = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(
        method,
        "take_step",
        lambda optimizer: [clipping(method.head(), 0.05), NoisyFineTune.take_step(method, optimizer)],
    )
    model = run(method, task, steps, monkeypatch)
    head = list(expected[4].parameters())
    with torch.no_grad():
        norm = torch.cat([p.flatten() for p in head]).norm()
        assert norm > 0.7
        for parameter in head:
            parameter *= 0.7 / norm
    for number, (retain, _) in enumerate(steps):
        gradients = torch.autograd.grad(criterion(task, expected(retain.images), retain.labels), head)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        assert norm > 0.05
        draws = seeded_generator(number, 3)
        with torch.no_grad():
            for parameter, gradient in zip(head, gradients, strict=True):
                noise = torch.randn(parameter.shape, generator=draws)
                moved = (1 - LR * 0.5) * parameter - LR * gradient * 0.05 / (norm + 1e-6) + 0.3 * noise
                parameter.copy_(moved)
    assert_same(model, expected)
    assert all(torch.equal(a, b) for a, b in zip(model[:4].parameters(), tiny_model()[:4].parameters(), strict=True))


def test_noisy_fine_tuning_refuses_another_optimiser():
    for settings in ({"momentum": 0.9}, {"noise": -1.0}, {"schedule": "cosine"}):
        with pytest.raises(SettingError):
            NoisyFineTune(**settings)


@in_both_tasks
def test_retrain_briefly_starts_from_a_new_network_and_compresses_the_schedule(task, monkeypatch):
    """The recipe divides the rate by ten after one of two epochs: here after one of two iterations."""
    steps, expected = batches(task), other_model()
    model = run(RetrainBriefly(), task, steps, monkeypatch)
    for number, (retain, _) in enumerate(steps):
        gradients = gradients_of(expected, criterion(task, expected(retain.images), retain.labels))
        with torch.no_grad():
            for parameter, gradient in zip(expected.parameters(), gradients, strict=True):
                parameter -= LR * (1, 0.1)[number] * gradient
    assert_same(model, expected)
    assert RetrainBriefly(brief_epochs=3).default_epochs(Recipe(epochs=30)) == 3


def test_neg_grad_plus_stops_when_forget_is_like_people_it_never_saw(monkeypatch):
    task = TASKS["multi_class"]
    for losses, stops in (({"forget": 0.1, "reference": 0.9}, False), ({"forget": 1.0, "reference": 0.9}, True)):
        method, checked = AdvancedNegGrad(alpha=0.95, stop_every=2, lr=LR), []
        monkeypatch.setattr(
            "gli.methods.neg_grad.mean_over",
            lambda _, name, __, losses=losses, seen=checked: [seen.append(name), losses[name]][1],
        )
        run(method, task, batches(task, 3), monkeypatch)
        assert checked == ["forget", "reference"]
        assert method.trainer.should_stop is stops
    assert AdvancedNegGrad(stop_every=2).needs_reference
    assert not AdvancedNegGrad().needs_reference


def test_a_method_that_compares_with_people_refuses_data_without_them():
    with pytest.raises(SettingError, match=r"--data\.reference_share 0\.5"):
        LoTUS().check_data(SyntheticFaces())
    LoTUS().check_data(SyntheticFaces(reference_share=0.5))
    FineTune().check_data(SyntheticFaces())


@in_both_tasks
def test_means_and_gradients_over_a_set_are_those_of_all_images_and_leave_the_model_alone(task):
    """Batches of two and of one image: a mean over batches would differ."""
    method = FineTune()
    attach(method, task)
    method.model.train()
    before = copy.deepcopy(method.model.state_dict())
    images, labels = method.data.whole("forget")
    frozen = tiny_model().eval()
    expected = criterion(task, frozen(images), labels).item()
    assert mean_over(method, "forget", method.task.losses) == pytest.approx(expected, abs=1e-6)
    gradients = gradients_over(method, "forget")
    for value, wanted in zip(gradients.values(), on_set(frozen, task, method.data, "forget"), strict=True):
        torch.testing.assert_close(value, wanted, rtol=0, atol=1e-6)
    assert all(module.training for module in method.model.modules())
    assert all(torch.equal(before[name], value) for name, value in method.model.state_dict().items())
    assert all(parameter.grad is None for parameter in method.model.parameters())


def test_schedules_begin_at_their_top_and_end_near_zero():
    assert [cosine(step, 4) for step in range(4)] == pytest.approx([1, 0.8535534, 0.5, 0.1464466])
    assert [warmup(step, 10) for step in range(10)] == pytest.approx(
        [0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    )
    assert warmup(0, 1) == 1
    with pytest.raises(SettingError, match="follows the recipe"):
        Retrained(schedule="cosine")
