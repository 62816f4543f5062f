"""What a model's weights give away beyond its answers: features, relearning, answers around a picture, side effects.

Every value is measured on the audited model, on its original, and on reference models that never saw the people; only
the difference from the references counts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from gli.auditing import reference_audit
from gli.data.datamodule import FaceDataModule
from gli.data.faces import Rows
from gli.data.loading import shuffled_batches
from gli.data.tasks import Task
from gli.metrics.features import (
    excess_over_references,
    probe_hits,
    rank_one_hits,
    residual_knowledge,
    verification_areas,
)
from gli.metrics.intervals import Interval, mean_interval, people_means
from gli.metrics.klom import excess_klom
from gli.system.chunks import CHUNK_PIXELS, in_chunks

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Random directions around each picture, their root mean square in units of the pixels, and the most pictures.
DIRECTIONS, NORM, MOST_AROUND = 16, 0.03, 600
#: Most retained pictures that are looked at, of relatives and of others each.
MOST_RETAINED = 500
THROUGH_NEIGHBOURS = "through neighbours"
FORGOTTEN, NEVER_SEEN, RELATIVES, RETAINED = "forgotten", "never seen", "relatives", "retained"
#: What each measured value is called; a value is a mean over people.
VALUES = {
    "verification": "re-identification from features (verification AUC)",
    "verification, never seen": "the same for people who were never seen",
    "rank 1": "re-identification from features (rank 1)",
    "probe": "labels read from features by a linear probe",
    "around": "right answers around a picture",
    "relearning": "loss of other pictures while the person is learned again",
}
#: Values that are smaller if a model remembers.
SMALLER = frozenset({"relearning"})
#: Values that can make a model fail, since they find what answers do not show, and the share of the original's
#: difference from the references that a model may keep. The others describe.
DECISIVE, KEPT = ("verification", "relearning"), 0.2


@dataclass(frozen=True)
class People:
    """Pictures of some people."""

    images: Tensor  # uint8, shape ``(n, 3, height, width)``.
    labels: Tensor  # As in the face table.
    people: Integers  # Number of the person on each image, shape ``(n,)``.

    def at(self, rows: Rows) -> People:
        """Return some of the pictures."""
        chosen = torch.from_numpy(rows)
        return People(self.images[chosen], self.labels[chosen], self.people[rows])

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.people)


@dataclass(frozen=True)
class Inside:
    """What was measured on one model."""

    #: One value per person, by the names in ``VALUES``; equal people in all models of one audit.
    values: Mapping[str, Array]
    margins: Mapping[str, Array]  # Margins of retained pictures, by ``RELATIVES`` and ``RETAINED``.
    #: Margins of the neighbours of the people of ``forget`` and of ``unseen``.
    neighbours: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Excess:
    """A value of the audited model relative to the references."""

    model: float  # Mean over people under the audited model.
    references: float  # The same under the reference models.
    difference: Interval  # The difference, with its interval; 0 if unlearning equals retraining.
    #: The same difference of the original: what there was to forget; None if the original is not at hand.
    original: Interval | None


@dataclass(frozen=True)
class InsideAudit:
    """The audit of a model's weights."""

    values: Mapping[str, Excess]  # By the names in ``VALUES``.
    residual: float  # Residual knowledge: right answers around forgotten pictures, divided by those of the references.
    #: Excess KLoM of retained pictures: of ``RELATIVES`` of the forgotten, if there are any, and of ``RETAINED``
    #: people; mean over people.
    klom: Mapping[str, Interval] = field(default_factory=dict)
    #: AUC per person of the attack through neighbours on the ``model``, the ``original`` (if at hand) and the
    #: ``references``.
    neighbours: Mapping[str, Interval] = field(default_factory=dict)


class Subjects:
    """The people of an audit, and what is measured on them.

    Args:
        data: Their data.
        device: Where models are measured.
        near: The network in whose features retained people are neighbours of others: the original, where it is there.
        seed: Seed of every choice.
    """

    def __init__(self, data: FaceDataModule, device: torch.device, near: nn.Module, seed: int = 0) -> None:
        data.setup()
        self.task: Task = data.task
        self.device, self.seed = device, seed
        # That of the recipe's end: with its first learning rate some networks diverge.
        self.lr = data.recipe.lr / 10
        self.forgotten = self._people(data, data.rows("forget"))
        self.never_seen = self._people(data, data.rows("unseen"))
        retain, households = data.rows("retain"), data.faces.households
        related = np.isin(households[retain], np.unique(households[data.rows("forget")]))
        sides = {RELATIVES: retain[related], RETAINED: retain[~related]}
        self.retained = {
            name: self._people(data, self._some(rows, data.identities))
            for name, rows in sides.items()
            if len(np.unique(data.identities[rows])) > 1
        }
        self.neighbours = self._neighbours(self._people(data, retain), near.to(device).eval())
        self.around = self.forgotten.at(self._few(self.forgotten.people, MOST_AROUND))

    def _people(self, data: FaceDataModule, rows: Rows) -> People:
        images = torch.from_numpy(data.pixels[rows]).permute(0, 3, 1, 2)
        numbers = np.unique(data.identities[rows], return_inverse=True)[1]
        return People(images, torch.from_numpy(data.faces.labels[rows]), numbers)

    def _some(self, rows: Rows, identities: npt.NDArray[np.str_]) -> Rows:
        """Return rows of whole people, chosen at random."""
        return rows[self._few(np.unique(identities[rows], return_inverse=True)[1], MOST_RETAINED)]

    def _few(self, people: Integers, most: int) -> Rows:
        """Return the positions of all images of as many people, chosen at random, as have at most ``most`` images."""
        order = np.random.default_rng(self.seed).permutation(people.max() + 1)
        counts = np.cumsum(np.bincount(people)[order])
        chosen = order[: max(2, int((counts <= most).sum()))]
        return np.flatnonzero(np.isin(people, chosen))

    def _neighbours(self, retained: People, near: nn.Module) -> dict[str, People]:
        """Return pictures of the nearest retained people, numbered as the people of ``forget`` and of ``unseen``.

        Nobody is the neighbour of two: pairs have the smallest sum of the distances between people's mean features.
        """
        sides = {"forget": self.forgotten, "unseen": self.never_seen}
        means = []
        for side in (*sides.values(), retained):
            features = features_of(near, self._float(side), self.device)
            means.append(np.array([features[side.people == number].mean(axis=0) for number in np.unique(side.people)]))
        distances = np.linalg.norm(np.concatenate(means[:2])[:, None] - means[2][None], axis=2)
        whose = np.full(len(means[2]), -1)
        someone, nearest = linear_sum_assignment(distances)
        whose[nearest] = someone
        found, first = {}, 0
        for name, mean in zip(sides, means[:2], strict=True):
            number = whose[retained.people] - first
            chosen = retained.at(np.flatnonzero((number >= 0) & (number < len(mean))))
            found[name] = replace(chosen, people=whose[chosen.people] - first)
            first += len(mean)
        return found if all(len(np.unique(side.people)) > 1 for side in found.values()) else {}

    def measure(self, model: nn.Module) -> Inside:
        """Return what is measured on a model.

        The model is put into eval mode, and not changed otherwise.
        """
        model = model.to(self.device).eval()
        features = features_of(model, self._float(self.forgotten), self.device)
        never_seen = features_of(model, self._float(self.never_seen), self.device)
        labels, people = self.forgotten.labels.numpy(), self.forgotten.people
        values = {
            "verification": _by_person(verification_areas(features, people), people),
            "verification, never seen": _by_person(
                verification_areas(never_seen, self.never_seen.people), self.never_seen.people
            ),
            "rank 1": _by_person(rank_one_hits(features, people), people),
            "probe": _by_person(probe_hits(features, labels, people), people),
            "around": self._around(model),
            "relearning": self._relearning(model),
        }
        margins = {name: self._margins(model, side) for name, side in self.retained.items()}
        neighbours = {name: self._margins(model, side) for name, side in self.neighbours.items()}
        return Inside({name: value for name, value in values.items() if len(value) > 1}, margins, neighbours)

    def _float(self, side: People) -> Tensor:
        return side.images.float() / 255

    def _margins(self, model: nn.Module, side: People) -> Array:
        def margins(images: Tensor, labels: Tensor) -> Tensor:
            return torch.stack(list(self.task.margins(model(images), labels).values()), dim=1)

        images, labels = self._float(side).to(self.device), side.labels.to(self.device)
        with torch.inference_mode():
            return np.asarray(in_chunks(margins, images, labels, pixels=CHUNK_PIXELS).cpu().numpy().mean(axis=1))

    def _around(self, model: nn.Module) -> Array:
        """Return the share of right answers around the pictures of each person."""
        images, labels = self._float(self.around).to(self.device), self.around.labels.to(self.device)
        generator = torch.Generator().manual_seed(self.seed)
        right = torch.zeros(len(images), device=self.device)

        def accuracy(images: Tensor, labels: Tensor) -> Tensor:
            return self.task.accuracies(model(images), labels)["accuracy"]

        with torch.inference_mode():
            for _ in range(DIRECTIONS):
                noise = torch.randn(images.shape, generator=generator)
                noise /= noise.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
                moved = (images + NORM * noise.to(self.device)).clamp(0, 1)
                right += in_chunks(accuracy, moved, labels, pixels=CHUNK_PIXELS)
        return _by_person((right / DIRECTIONS).double().cpu().numpy(), self.around.people)

    def _relearning(self, model: nn.Module) -> Array:
        """Return each person's mean loss on one half of the pictures while the other half is learned."""
        learn, judge = (self.forgotten.at(rows) for rows in halves(self.forgotten.people, self.seed))
        if not len(learn):
            return np.empty(0)
        learned, judged = ((self._float(side).to(self.device), side.labels.to(self.device)) for side in (learn, judge))
        curve = relearning_losses(model, self.task, learned, judged, self.lr, self.seed)
        return _by_person(curve[1:].mean(axis=0), judge.people)


def _by_person(values: Array, people: Integers) -> Array:
    """Return the mean of each person's values, without people who have none."""
    usable = np.isfinite(values)
    return people_means(values[usable], people[usable])[0] if usable.any() else np.empty(0)


def features_of(model: nn.Module, images: Tensor, device: torch.device) -> Array:
    """Return the input of a model's last linear layer: the penultimate features, shape ``(n, dimensions)``.

    Images are in [0, 1], shape ``(n, 3, height, width)``.
    """
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    features: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].flatten(1)))
    try:
        with torch.inference_mode():
            in_chunks(model, images.to(device), pixels=CHUNK_PIXELS)
    finally:
        hook.remove()
    return np.asarray(torch.cat(features).double().cpu().numpy())


def audit_inside(
    subjects: Subjects, model: Inside, original: Inside | None, references: Sequence[Inside]
) -> InsideAudit:
    """Compare what was measured on a model with reference models.

    The original is None if it is not at hand; there are at least three references.
    """
    values = {}
    every = [model, *references, *([] if original is None else [original])]
    for name, measured in model.values.items():
        if any(name not in inside.values for inside in every):  # Not finite in one of them.
            continue
        out = np.array([reference.values[name] for reference in references])
        before = None if original is None else excess_over_references(original.values[name], out)
        values[name] = Excess(float(measured.mean()), float(out.mean()), excess_over_references(measured, out), before)
    klom = {}
    for name, side in subjects.retained.items():
        distances, floor = excess_klom(
            model.margins[name][None], np.array([reference.margins[name] for reference in references])
        )
        klom[name] = mean_interval(people_means(distances - floor, side.people)[0])
    residual = math.nan
    if "around" in values:
        around = np.array([reference.values["around"] for reference in references])
        residual = residual_knowledge(model.values["around"], around)
    return InsideAudit(values, residual, klom, through_neighbours(subjects.neighbours, model, original, references))


def through_neighbours(
    neighbours: Mapping[str, People], model: Inside, original: Inside | None, references: Sequence[Inside]
) -> dict[str, Interval]:
    """Attack the forgotten through retained people who look like them: are their answers farther from retraining?

    A student that imitates a teacher who saw the forgotten gives them away where it was taught. Negatives are the
    neighbours of people who were never seen. Source: Jagielski et al., "Students Parrot Their Teachers on Membership
    Inference", NeurIPS 2023; neighbours in place of queries, and the references, are ours.

    Returns:
        AUC per person by ``model``, ``original`` (if there is one) and ``references``; empty without neighbours.
    """
    if not neighbours:
        return {}
    numbers = {name: np.char.add(name, side.people.astype(str)) for name, side in neighbours.items()}
    people = reference_audit.People(numbers)

    every = {"model": model, **({} if original is None else {"original": original})}
    shown = [{name: of.neighbours[name][:, None] for name in neighbours} for of in (*every.values(), *references)]
    relative = reference_audit.Relative(reference_audit.distance, shown[len(every) :])
    scores = {name: relative.of(each) for name, each in zip(every, shown, strict=False)}
    scores["references"] = relative.of_references()
    return {name: people.attack(THROUGH_NEIGHBOURS, each).people for name, each in scores.items()}


def leaks(inside: InsideAudit) -> list[str]:
    """Return what the weights give away in words, of the values that decide.

    A value counts if it distinguishes the original from the references (its positive control), and if the whole
    interval of the model lies beyond ``KEPT`` of the original's difference.
    """
    found = []
    for name in DECISIVE:
        value = inside.values.get(name)
        if value is None or value.original is None:
            continue
        sign = -1 if name in SMALLER else 1
        model, original = (sign * (each.low if sign > 0 else each.high) for each in (value.difference, value.original))
        if original > 0 and model > KEPT * sign * value.original.value:
            share = value.difference.value / value.original.value
            found.append(f"{VALUES[name]}: {100 * share:.0f} % of the original's difference from retrained models")
    return found


# -- relearning: do forgotten people come back faster than to models that never saw them? -----------------------------

#: Steps after which the losses are measured; the last is the number of steps.
CHECKS = (0, 5, 10, 20)
BATCH, MOMENTUM = 64, 0.9


def halves(people: npt.NDArray[np.int64], seed: int = 0) -> tuple[Rows, Rows]:
    """Divide the images of each person with two or more into two halves: one to learn from, one to judge by.

    Returns:
        Positions of the images of either half; people with one image are in neither.
    """
    generator = np.random.default_rng(seed)
    learn: list[int] = []
    judge: list[int] = []
    for person in np.unique(people):
        images = generator.permutation(np.flatnonzero(people == person)).tolist()
        if len(images) > 1:
            learn += images[: len(images) // 2]
            judge += images[len(images) // 2 :]
    return np.sort(np.array(learn, dtype=np.int64)), np.sort(np.array(judge, dtype=np.int64))


def relearning_losses(
    model: nn.Module,
    task: Task,
    learn: tuple[Tensor, Tensor],
    judge: tuple[Tensor, Tensor],
    lr: float,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Return the losses of the images to judge by while a copy of the model is fine-tuned on those to learn from.

    Each side is images in [0, 1], shape ``(n, 3, height, width)``, and their labels. BatchNorm statistics stay as they
    are. The batches depend on the seed alone, so that they are the same for all models. The losses are in nats, after
    each number of steps in ``CHECKS``: shape ``(checks, m)``. Source: relearn time of Golatkar, Achille and Soatto,
    "Eternal Sunshine of the Spotless Net", CVPR 2020; the halves by person are ours.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=MOMENTUM)
    images, labels = learn
    size = min(BATCH, len(images))
    batches = list(shuffled_batches(np.arange(len(images)), size, CHECKS[-1], (seed, 2)))
    curve = []
    for step in range(CHECKS[-1] + 1):
        if step in CHECKS:
            with torch.inference_mode():
                losses = in_chunks(lambda x, y: task.losses(model(x), y), *judge, pixels=CHUNK_PIXELS)
            curve.append(losses.double().cpu().numpy())
        if step < CHECKS[-1]:
            batch = torch.from_numpy(batches[step]).to(images.device)
            optimizer.zero_grad()
            loss: Any = task.loss(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
    return np.stack(curve)
