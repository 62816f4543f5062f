"""What the audit of a batch finds: this batch, everybody erased before, the worst single person, utility.

The attack is the one of ``gli audit``, person by person: see :mod:`gli.auditing.reference_audit`. Outputs of models on
photographs are held in memory only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gli.auditing import UPRIGHT, reference_audit
from gli.auditing.verdict import CHANCE, Attack, attack, auc_in_words
from gli.auditing.views import margins_in_views
from gli.data.table import YES
from gli.data.tasks import MultiClass, MultiLabel, Task
from gli.erasure.batches import CANNOT_TELL, EXACT, FAIL, PASS, held_out_halves, kept_for_rehearsals
from gli.erasure.requests import read_requests
from gli.erasure.store import LEAST_PEOPLE, Photo, Settings, Store, pixels_of
from gli.errors import DataError
from gli.metrics.intervals import Interval, auc, detectable_difference, equivalence, mean_interval, people_means
from gli.models.backbones import Classifier, build_classifier
from gli.models.checkpoints import load_weights
from gli.system.ledger import counted, rehearsal_hash, sha256_file

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
#: Images evaluated at once.
BATCH = 64
#: Level at which a single person counts as recognised; much smaller where the model is exact by construction.
LEVEL, LEVEL_EXACT = 0.05, 0.001
#: Numbers of people for which the baseline shows the smallest detectable AUC.
SIZES = (1, 3, 10, 30)
#: Answers, the one that decides in front. Only tests with power pass.
ANSWERS = (FAIL, CANNOT_TELL, EXACT, PASS)
#: The audited classifier, and the one before it.
ENDS = ("after", "before")


# -- outputs of a classifier -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outputs:
    """Outputs of a classifier on some photographs."""

    margins: Array  # log p - log(1 - p) of the true label, shape ``(images, labels)``; one label in a multi-class task.
    hits: Array  # Whether each label is right, 0 or 1, shape ``(images, labels)``.
    people: Integers  # Number of the person on each image, shape ``(images,)``.
    labels: Integers  # Class number of each image, shape ``(images,)``; 0 in a multi-label task.
    #: Margins by view, for photographs that are shown otherwise than upright.
    views: Mapping[str, Array] = field(default_factory=dict)


def task_of(settings: Settings) -> Task:
    """Return the task: multi-class with one label column, multi-label with several."""
    return MultiClass(tuple(settings.classes)) if settings.classes else MultiLabel(tuple(settings.labels))


def labels_of(photos: Sequence[Photo], settings: Settings) -> Integers:
    """Return class numbers, shape ``(images,)``, or 0 and 1, shape ``(images, labels)``.

    Raises:
        DataError: If a photograph has a class that the classifier does not have.
    """
    if not settings.classes:
        return np.array([[value.lower() in YES for value in photo.labels] for photo in photos], dtype=np.int64)
    for photo in photos:
        if photo.labels[0] not in settings.classes:
            raise DataError(f"line {photo.line}: {photo.labels[0]!r} is not a class of {', '.join(settings.classes)}.")
    return np.array([settings.classes.index(photo.labels[0]) for photo in photos], dtype=np.int64)


def load_model(weights: Path, settings: Settings) -> Classifier:
    """Return the classifier of a file.

    Raises:
        CheckpointError: If it cannot be read, or is of another network.
        DataError: If a weight is not a finite number.
    """
    model = build_classifier(settings.backbone, task_of(settings).num_outputs, normalize=settings.normalize)
    load_weights(model, weights, settings.backbone)
    if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
        raise DataError(f"{weights}: holds weights that are not finite numbers. Name the file of a model that works.")
    return model


@torch.no_grad()
def evaluate(
    weights: Path, photos: Sequence[Photo], pixels: npt.NDArray[np.uint8], settings: Settings, views: bool = True
) -> Outputs:
    """Return the outputs of a classifier.

    Args:
        weights: A checkpoint of gli or a plain state dict.
        photos: The photographs.
        pixels: Their pixels, of :func:`pixels_of`.
        settings: Settings of the store.
        views: Whether to show the photographs otherwise than upright, too.
    """
    task, model = task_of(settings), load_model(weights, settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    labels = labels_of(photos, settings)
    margins, hits = [], []
    for start in range(0, len(photos), BATCH):
        images = torch.from_numpy(pixels[start : start + BATCH]).to(device).permute(0, 3, 1, 2) / 255
        truth = torch.from_numpy(labels[start : start + BATCH]).to(device)
        logits = model(images)
        margins.append(torch.stack(list(task.margins(logits, truth).values()), dim=1).cpu().numpy())
        accuracies = task.accuracies(logits, truth)
        columns = ["accuracy"] if settings.classes else [f"accuracy_{name}" for name in settings.labels]
        hits.append(torch.stack([accuracies[name] for name in columns], dim=1).cpu().double().numpy())
    people = np.unique([photo.identity for photo in photos], return_inverse=True)[1]
    classes = labels if settings.classes else np.zeros(len(photos), dtype=np.int64)
    shown: dict[str, Array] = {}
    if views:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        shown = margins_in_views(model, task, images, torch.from_numpy(labels))
    return Outputs(np.concatenate(margins), np.concatenate(hits), people.astype(np.int64), classes, shown)


# -- findings ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One result of an audit. It names nobody."""

    name: str  # What was tested.
    #: ``pass``, ``fail`` or ``cannot tell``, or ``exact by construction`` of a retrained model where the test had no
    #: power.
    answer: str
    sentence: str  # What was found, in one sentence.
    decides: bool  # Whether the answer is part of the verdict.
    value: float | None = None  # The estimate; None where there is none.
    low: float | None = None  # Lower limit of its 95 % interval.
    high: float | None = None  # Upper limit.
    margin: float | None = None  # Margin declared beforehand.
    people: int = 0  # Number of people.
    images: int = 0  # Number of images.

    def contents(self) -> dict[str, Any]:
        """Return the finding as plain values, numbers rounded to six digits."""
        return {
            name: round(value, 6)
            if isinstance(value, float) and math.isfinite(value)
            else None
            if isinstance(value, float)
            else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Evidence:
    """Everything that the audit of a batch found."""

    findings: Sequence[Finding]  # All findings, those that decide in front.
    attack: str  # The attack in words.
    powered: bool = False  # Whether the test of single people could have shown that one of them is remembered.

    @property
    def answer(self) -> str:
        """The verdict: the first of ``ANSWERS`` among the findings that decide."""
        answers = {finding.answer for finding in self.findings if finding.decides}
        return next((each for each in ANSWERS if each in answers), CANNOT_TELL)


def detectable_auc(people: int, strangers: int) -> float:
    """Return the smallest AUC that an attack on some people can show with a probability of 80 %.

    It is 1 if not even a perfect attack can be shown; see :func:`gli.metrics.intervals.detectable_difference`.

    Args:
        people: Number of forgotten people.
        strangers: Number of people who were never seen.
    """
    return min(1.0, CHANCE + detectable_difference(people, strangers))


def settled(answer: str, powered: bool, exact: bool) -> str:
    """Return the answer of a test; without power it is neither ``pass`` nor ``fail``.

    Args:
        answer: The answer of the numbers alone.
        powered: Whether the test could have shown a leak.
        exact: Whether the model was retrained without the people.
    """
    if powered and answer in (PASS, FAIL):
        return answer
    return EXACT if exact else CANNOT_TELL


@dataclass(frozen=True)
class Models:
    """Outputs of the classifier before, of the new one, and of the reference models, on one group of photographs."""

    before: Outputs
    after: Outputs
    references: Sequence[Outputs]


def gather_evidence(
    forget: Models,
    earlier: Models | None,
    unseen: Models,
    test: Models,
    margin: float,
    utility_margin: float,
    exact: bool,
    classes: Sequence[str],
) -> Evidence:
    """Audit a batch by the outputs of its models.

    Args:
        forget: Outputs on the photographs of this batch.
        earlier: Outputs on the photographs of people erased before that are still in the table; None if there are none.
        unseen: Outputs on held-out people whom the attacked people are compared with.
        test: Outputs on the other held-out people.
        margin: Margin of the AUC.
        utility_margin: Margin of the accuracy.
        exact: Whether the new model was retrained without the people.
        classes: Names of the classes or labels.
    """
    audit = audited(forget, unseen, test, margin)
    assert audit.attack is not None  # A diverged model is refused when its weights are read.
    images = len(forget.after.people)
    worst, powered = _worst(list(audit.views.values()), images, exact)
    findings = [_batch(audit, images, margin, exact), worst]
    if earlier is not None:
        # The correction is that of this batch: the classifier has forgotten those erased before already.
        again = audited(earlier, unseen, test, margin, audit.a)
        assert again.attack is not None
        findings.append(_earlier(again.attack, len(earlier.after.people), margin, exact))
    return Evidence([*findings, *_utility(test, unseen, utility_margin, classes)], audit.attack.name, powered)


def audited(
    forget: Models, unseen: Models, test: Models, margin: float, a: float | None = None
) -> reference_audit.Audit:
    """Audit a group of people as ``gli audit`` does; see :func:`gli.auditing.reference_audit.audit`."""
    groups = {"forget": forget, "unseen": unseen, "test": test}

    people = {"forget": forget.after.people, "unseen": unseen.after.people + forget.after.people.max() + 1}
    after, before = (by_view({name: getattr(each, end) for name, each in groups.items()}) for end in ENDS)
    count = len(forget.references)
    references = [by_view({name: each.references[n] for name, each in groups.items()}) for n in range(count)]
    return reference_audit.audit(people, after, before, references, margin, a)


def by_view(groups: Mapping[str, Outputs]) -> reference_audit.Views:
    """Return the margins of one model by view and group."""
    others = {view: {name: each.views[view] for name, each in groups.items()} for view in groups["forget"].views}
    return {UPRIGHT: {name: each.margins for name, each in groups.items()}, **others}


def _of_interval(
    name: str, answer: str, sentence: str, decides: bool, interval: Interval, margin: float, people: int, images: int
) -> Finding:
    value, low, high = interval.value, interval.low, interval.high
    return Finding(name, answer, sentence, decides, value, low, high, margin, people, images)


def _batch(audit: reference_audit.Audit, images: int, margin: float, exact: bool) -> Finding:
    """Return whether the attack still identifies the people of this batch."""
    assert audit.attack is not None
    interval, trials = audit.attack.people, audit.attack.trials
    people = int(trials.positive.sum())
    strangers = len(trials.positive) - people
    least, powered = detectable_auc(people, strangers), _has_power(people, strangers)
    answer, sentence = settled(audit.verdict.answer, powered, exact), audit.verdict.sentence
    if exact and answer != FAIL:
        sentence = (
            "The model was trained without these people. An audit finds nothing against it "
            f"({auc_in_words(interval)}; it can show an AUC from {least:.2f} on)."
        )
    elif not powered:
        sentence = (
            f"{counted(people)} against {strangers} who were never seen cannot show an AUC below {least:.2f}: too few "
            f"for an answer (the attack's AUC is {interval.value:.2f})."
        )
    if audit.references:
        sentence += f" Memory of these photographs: {audit.memory:.2f} (1 as before, 0 as retrained)."
    return _of_interval("this batch", answer, sentence, True, interval, margin, people, images)


def _has_power(people: int, strangers: int) -> bool:
    """Return whether an attack on some people could show a leak, were it perfect."""
    return min(people, strangers) >= LEAST_PEOPLE and detectable_auc(people, strangers) < 1


def _worst(views: Sequence[Attack], images: int, exact: bool) -> tuple[Finding, bool]:
    """Return whether a single person stands out from all strangers in any view, by a rank test, and its power.

    Everybody is ranked by the view in which they stand out most, strangers as well, so that the choice costs nothing.
    """
    scores = np.array([(attack.trials.scores - attack.trials.scores.mean()) for attack in views])
    scores /= np.maximum(scores.std(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    forgotten = views[0].trials.positive
    (people, strangers), (low, low_strangers) = (
        (each[forgotten], each[~forgotten]) for each in (scores.max(axis=0), scores.min(axis=0))
    )
    above = [(1 + int((strangers >= score).sum())) / (1 + len(strangers)) for score in people]
    below = [(1 + int((low_strangers <= score).sum())) / (1 + len(strangers)) for score in low]
    chances = [min(1.0, 2 * min(pair) * len(people)) for pair in zip(above, below, strict=True)]
    worst, least = min(chances), min(1.0, 2 * len(people) / (1 + len(strangers)))
    level = LEVEL_EXACT if exact else LEVEL
    powered = least < level
    if worst < level:
        text = "The attack separates one person from everybody who was never seen"
    elif powered:
        text = "No single person stands out"
    else:
        text = f"With {len(strangers)} strangers, not even a certain leak would show"
        text += "; the model was trained without these people" if exact else ""
    sentence = f"{text} (corrected p {worst:.3f}; the smallest possible is {least:.3f})."
    areas = [auc(np.array([score]), strangers) for score in people]
    areas += [auc(np.array([score]), low_strangers) for score in low]
    value = max(areas, key=lambda area: abs(area - CHANCE))
    answer = settled(FAIL if worst < level else PASS, powered, exact)
    finding = Finding(
        "the worst single person", answer, sentence, True, float(value), people=len(people), images=images
    )
    return finding, powered


def _earlier(result: Attack, images: int, margin: float, exact: bool) -> Finding:
    """Return whether the attack identifies people erased before, under the new model."""
    interval, people = result.people, int(result.trials.positive.sum())
    shown, strangers = auc_in_words(interval), len(result.trials.positive) - people
    powered = _has_power(people, strangers)
    answer = settled(equivalence(interval, CHANCE, margin), powered, exact)
    sentence = f"People erased before, under the new model: {shown}."
    if exact and answer != FAIL:
        sentence = f"People erased before were not in training either ({shown})."
    elif not powered:
        sentence = f"{counted(people)} cannot show an AUC below {detectable_auc(people, strangers):.2f} ({shown})."
    return _of_interval("everybody erased before", answer, sentence, True, interval, margin, people, images)


def _utility(test: Models, unseen: Models, margin: float, classes: Sequence[str]) -> list[Finding]:
    """Return the loss of accuracy on held-out people, over all and per class."""
    after, before = (np.concatenate([getattr(models, end).hits for models in (test, unseen)]) for end in ENDS)
    people = np.concatenate([test.after.people, unseen.after.people + test.after.people.max() + 1])
    labels = np.concatenate([test.after.labels, unseen.after.labels])
    lost = before - after
    findings = [_loss("utility", lost.mean(axis=1), people, margin, 0.95, True)]
    level = 1 - 0.05 / max(1, len(classes))
    for number, name in enumerate(classes):
        multi_class = lost.shape[1] == 1
        rows = labels == number if multi_class else np.ones(len(labels), dtype=bool)
        column = lost[rows, 0 if multi_class else number]
        findings.append(_loss(f"utility of {name}", column, people[rows], margin, level, False))
    return findings


def _loss(name: str, lost: Array, people: Integers, margin: float, level: float, decides: bool) -> Finding:
    """Return a finding about a loss of accuracy; of a class, only a failure decides."""
    means = people_means(lost, people)[0] if len(lost) else np.empty(0)
    if len(means) < LEAST_PEOPLE:
        sentence = f"{len(means)} held-out people are too few to measure a loss of accuracy."
        return Finding(name, CANNOT_TELL, sentence, decides, margin=margin, people=len(means), images=len(lost))
    interval = mean_interval(means, level)
    if interval.low == interval.high:  # The rule of three: 3 / n of the people may differ although nobody here does.
        spread = 3 / len(means)
        interval = replace(interval, low=interval.value - spread, high=interval.value + spread)
    answer = "fail" if interval.low > margin else "pass" if interval.high <= margin else "cannot tell"
    sentence = (
        f"The accuracy on held-out people falls by {100 * interval.value:.1f} points ({100 * level:.3g} % interval "
        f"{100 * interval.low:.1f} to {100 * interval.high:.1f}); the margin is {100 * margin:g}."
    )
    return _of_interval(name, answer, sentence, decides or answer == "fail", interval, margin, len(means), len(lost))


# -- before anybody is erased ------------------------------------------------------------------------------------------


def baseline(store: Store) -> list[str]:
    """Audit the classifier as it is, note the result in the ledger, and return it in sentences.

    The attack is the simplest one: the margin of a photograph, mean per person.
    """
    lines = store.ledger.read()
    entries, kept = lines.of_kind("baseline"), kept_for_rehearsals(lines)
    if entries:
        entry = entries[0]
    else:
        settings = store.settings
        groups = [
            evaluate(store.weights, each, pixels_of(each, settings), settings, views=False)
            for each in (store.photos, store.held_out)
        ]
        interval = baseline_interval(*groups)
        entry = store.ledger.append(
            "baseline",
            {
                "weights": sha256_file(store.weights),
                "auc": [round(each, 6) for each in (interval.value, interval.low, interval.high)],
                "accuracy": [round(float(each.hits.mean()), 6) for each in groups],
                "people": [int(each.people.max()) + 1 for each in groups],
                "images": [len(each.people) for each in groups],
            },
        )
    value, low, high = entry["auc"]
    _, unseen, _ = held_out_halves(store, lines, read_requests(store))
    everybody, compared = (
        {rehearsal_hash(store.key, photo.identity) for photo in photos} for photos in (store.held_out, unseen)
    )
    kept_words = f" ({len(everybody & kept)} of them for rehearsals only)" if kept else ""
    strangers = len(compared - kept)
    least = ", ".join(f"{size}: {detectable_auc(size, strangers):.2f}" for size in SIZES)
    return [
        f"Trained on {entry['people'][0]} people ({entry['images'][0]} photographs), accuracy "
        f"{entry['accuracy'][0]:.3f}; {entry['people'][1]} held-out people{kept_words}, accuracy "
        f"{entry['accuracy'][1]:.3f}.",
        f"The attack separates people in training from held-out people with an AUC of {value:.2f} ({low:.2f} to "
        f"{high:.2f}).",
        f"An audit compares a batch with {strangers} of the held-out people; the others measure accuracy. Smallest AUC "
        f"that it can show, by the number of people in the batch: {least}.",
    ]


def baseline_interval(trained: Outputs, held_out: Outputs) -> Interval:
    """Return the AUC, per person, of people in training against held-out people, by their margins alone."""
    groups = (trained, held_out)
    scores = np.concatenate([outputs.margins.mean(axis=1) for outputs in groups])
    people = np.concatenate([trained.people, held_out.people + trained.people.max() + 1])
    in_training = np.arange(len(people)) < len(trained.people)
    return attack(reference_audit.MARGINS_ALONE, scores[None], in_training, people).people
