from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, kl_divergence
from torch.nn import functional

from gli.data.tasks import MultiClass, MultiLabel, Task

CLASSES = MultiClass(("a", "b", "c", "d"))
LABELS = MultiLabel(("male", "smiling", "young"))


def logits_for(task: Task, batch: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(batch, task.num_outputs, generator=generator, dtype=torch.float64)).to(dtype)


def labels_for(task: Task, batch: int = 6) -> Tensor:
    if isinstance(task, MultiClass):
        return torch.arange(batch) % task.num_outputs
    return torch.arange(batch * task.num_outputs).reshape(batch, -1) % 2


both = pytest.mark.parametrize("task", [CLASSES, LABELS], ids=["classes", "labels"])


def test_number_of_outputs() -> None:
    assert CLASSES.num_outputs == 4
    assert LABELS.num_outputs == 3


# Losses --------------------------------------------------------------------------------------------------------------


def test_cross_entropy_by_hand() -> None:
    # Softmax of (ln 3, 0) is (3/4, 1/4).
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]], dtype=torch.float64)
    losses = MultiClass(("a", "b")).losses(logits, torch.tensor([0, 1]))
    assert losses.tolist() == pytest.approx([math.log(4 / 3), math.log(4)], abs=1e-12)


def test_binary_cross_entropies_by_hand_are_averaged_over_labels() -> None:
    # Sigmoid of ln 3 is 3/4, of 0 it is 1/2.
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), -math.log(3)]], dtype=torch.float64)
    losses = MultiLabel(("a", "b")).losses(logits, torch.tensor([[1, 0], [0, 0]]))
    assert losses.tolist() == pytest.approx([math.log(8 / 3) / 2, (math.log(4) + math.log(4 / 3)) / 2], abs=1e-12)


def test_losses_equal_torch() -> None:
    logits, labels = logits_for(CLASSES), labels_for(CLASSES)
    expected = nn.CrossEntropyLoss(reduction="none")(logits, labels)
    torch.testing.assert_close(CLASSES.losses(logits, labels), expected)
    logits, labels = logits_for(LABELS), labels_for(LABELS)
    expected = nn.BCEWithLogitsLoss(reduction="none")(logits, labels.double()).mean(dim=1)
    torch.testing.assert_close(LABELS.losses(logits, labels), expected)


@both
def test_loss_is_the_mean_of_the_losses(task: Task) -> None:
    logits, labels = logits_for(task), labels_for(task)
    losses = task.losses(logits, labels)
    assert losses.shape == (6,)
    assert task.loss(logits, labels).shape == ()
    assert task.loss(logits, labels).item() == pytest.approx(sum(losses.tolist()) / 6, abs=1e-12)


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_losses_are_computed_in_float32(task: Task, dtype: torch.dtype) -> None:
    logits, labels, teacher = logits_for(task, dtype=dtype), labels_for(task), logits_for(task, seed=1, dtype=dtype)
    losses = task.losses(logits, labels)
    assert losses.dtype == torch.float32
    assert torch.equal(losses, task.losses(logits.float(), labels))
    divergence = task.divergence(logits, teacher, 4)
    assert divergence.dtype == torch.float32
    assert torch.equal(divergence, task.divergence(logits.float(), teacher.float(), 4))


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_kept(task: Task, dtype: torch.dtype) -> None:
    logits = logits_for(task, dtype=dtype)
    assert task.losses(logits, labels_for(task)).dtype == dtype
    assert task.divergence(logits, logits + 1).dtype == dtype


@both
def test_losses_of_large_logits_and_their_gradients_are_finite(task: Task) -> None:
    logits = (1e4 * logits_for(task, dtype=torch.float32)).requires_grad_(True)
    task.loss(logits, labels_for(task)).backward()
    assert task.losses(logits, labels_for(task)).isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


# Scores --------------------------------------------------------------------------------------------------------------


def test_class_scores_by_hand() -> None:
    logits = torch.tensor([[4.0, 3, 2, 1], [4.0, 3, 2, 1], [4.0, 3, 2, 1], [0.0, 0, -1, 9]])
    scores = CLASSES.accuracies(logits, torch.tensor([0, 1, 2, 3]))
    assert {name: values.tolist() for name, values in scores.items()} == {
        "accuracy": [1, 0, 0, 1],
        "top2_accuracy": [1, 1, 0, 1],
    }


def test_top2_accuracy_of_two_classes_is_always_1() -> None:
    scores = MultiClass(("a", "b")).accuracies(torch.randn(5, 2), torch.tensor([0, 1, 0, 1, 1]))
    assert scores["top2_accuracy"].tolist() == [1] * 5


def test_a_single_class_can_be_scored() -> None:
    scores = MultiClass(("a",)).accuracies(torch.randn(3, 1), torch.zeros(3, dtype=torch.int64))
    assert [values.tolist() for values in scores.values()] == [[1, 1, 1]] * 2


def test_class_scores_agree_with_argmax_and_sorting() -> None:
    logits, labels = logits_for(CLASSES, batch=50), labels_for(CLASSES, batch=50)
    scores = CLASSES.accuracies(logits, labels)
    order = logits.argsort(dim=1, descending=True)
    assert torch.equal(scores["accuracy"].bool(), logits.argmax(dim=1) == labels)
    assert torch.equal(scores["top2_accuracy"].bool(), (order[:, 0] == labels) | (order[:, 1] == labels))
    assert 0 < scores["accuracy"].mean() < scores["top2_accuracy"].mean() < 1


def test_label_scores_by_hand() -> None:
    # Correct: all three labels; the first and last; none. A logit of 0 means no.
    logits = torch.tensor([[1.0, -1, 2], [0.1, 0.2, -3], [-1.0, 5, 0]])
    scores = LABELS.accuracies(logits, torch.tensor([[1, 0, 1], [1, 0, 0], [1, 0, 1]]))
    assert list(scores) == ["accuracy", "accuracy_male", "accuracy_smiling", "accuracy_young"]
    assert scores["accuracy"].tolist() == pytest.approx([1, 2 / 3, 0])
    assert scores["accuracy_male"].tolist() == [1, 1, 0]
    assert scores["accuracy_smiling"].tolist() == [1, 0, 0]
    assert scores["accuracy_young"].tolist() == [1, 1, 0]


@both
def test_scores_are_one_float_per_image(task: Task) -> None:
    for values in task.accuracies(logits_for(task), labels_for(task)).values():
        assert (values.shape, values.dtype) == ((6,), torch.float32)


# Divergence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 0.5])
def test_class_divergence_is_the_categorical_kl_of_teacher_to_student(temperature: float) -> None:
    student, teacher = logits_for(CLASSES), logits_for(CLASSES, seed=1)
    expected = kl_divergence(Categorical(logits=teacher / temperature), Categorical(logits=student / temperature))
    torch.testing.assert_close(CLASSES.divergence(student, teacher, temperature), expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 0.5])
def test_label_divergence_is_the_sum_of_the_bernoulli_kls_of_teacher_to_student(temperature: float) -> None:
    student, teacher = logits_for(LABELS), logits_for(LABELS, seed=1)
    expected = kl_divergence(Bernoulli(logits=teacher / temperature), Bernoulli(logits=student / temperature))
    torch.testing.assert_close(LABELS.divergence(student, teacher, temperature), expected.sum(dim=1))


def test_divergence_by_hand() -> None:
    # Teacher (3/4, 1/4), student (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2).
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    teacher, student = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    assert MultiClass(("a", "b")).divergence(student, teacher).item() == pytest.approx(expected, abs=1e-6)
    assert MultiLabel(("a",)).divergence(student[:, :1], teacher[:, :1]).item() == pytest.approx(expected, abs=1e-6)


@both
def test_divergence_of_equal_logits_is_zero_and_so_is_its_gradient(task: Task) -> None:
    teacher = logits_for(task)
    student = teacher.clone().requires_grad_(True)
    divergence = task.divergence(student, teacher, 2)
    divergence.sum().backward()
    assert divergence.tolist() == pytest.approx([0] * 6, abs=1e-12)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-12


@both
def test_gradient_of_the_divergence_is_the_difference_of_probabilities(task: Task) -> None:
    teacher, student = logits_for(task), logits_for(task, seed=1).requires_grad_(True)
    task.divergence(student, teacher, 2).sum().backward()
    squash = torch.sigmoid if isinstance(task, MultiLabel) else lambda logits: functional.softmax(logits, dim=1)
    torch.testing.assert_close(student.grad, (squash(student.detach() / 2) - squash(teacher / 2)) / 2)


@both
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
def test_divergence_of_large_logits_has_finite_value_and_gradient(task: Task, scale: float) -> None:
    teacher = scale * logits_for(task, dtype=torch.float32)
    student = (-teacher).requires_grad_(True)
    divergence = task.divergence(student, teacher)
    divergence.sum().backward()
    assert divergence.isfinite().all()
    assert (divergence > 0).all()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() > 0.5


@both
def test_divergence_is_never_negative(task: Task) -> None:
    divergence = task.divergence(logits_for(task, 200), logits_for(task, 200, seed=1), 3)
    assert (divergence > 0).all()
