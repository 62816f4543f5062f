"""The audit of one model in memory: its scores, and whether forgotten people can be told from people never seen.

With three reference models or more the attack is RMIA, on plain scores (``gli audit RUN`` takes off what the references
score for the same image). With fewer, it ranks people by the
margins of the audited model alone: a weaker attack, whose verdict says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gli.auditing.attacks import Attack, attack
from gli.auditing.few_references import ATTACKED, LEAST_REFERENCES, fleet_of, log_p, rmia_of_sets
from gli.auditing.record import Audit, People, margins_of
from gli.auditing.verdict import CHANCE, MARGIN, Verdict, judge
from gli.errors import DataError
from gli.metrics.intervals import Interval
from gli.metrics.rmia import calibrate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
WEAK = (
    " The attacker has no reference models and ranks people by the model's own margins; one with reference models may "
    f"find more: give {LEAST_REFERENCES} or more retrained models as reference."
)


@dataclass(frozen=True)
class ModelAudit:
    """The audit of one model.

    Attributes:
        scores: The registered scores by name (``accuracy``, ``mia_accuracy``, ``jsd``, ``final_score``, ...).
        record: Per-image values of each evaluation set.
        people: Identity on each image of each evaluation set.
        attack: The attack on the model: forgotten people against people who were never seen; None where the model has
            diverged.
        positive: AUC per person of the same attack on the original; None where no original was given.
        negative: AUC per person of the same attack on the reference models; None where none was given.
        verdict: ``pass``, ``fail`` or ``cannot tell``, with a sentence.
    """

    scores: Mapping[str, float]
    record: Audit
    people: People
    attack: Attack | None
    positive: Interval | None
    negative: Interval | None
    verdict: Verdict

    def plot(self) -> Figure:
        """Return the densities of the losses of forgotten and of never seen images (paper, Figure 6)."""
        from gli.auditing.plots import densities  # Loads matplotlib.

        losses = {name: columns["loss"] for name, columns in self.record.values.items()}
        return densities(losses["forget"], losses["unseen"], f"iteration {self.record.iteration}")

    def __str__(self) -> str:
        """Return the verdict."""
        return f"{self.verdict.answer}: {self.verdict.sentence}"


def audit_model(
    record: Audit,
    people: People,
    scores: Mapping[str, float],
    original: Audit | None = None,
    references: Sequence[Audit] = (),
    margin: float = MARGIN,
) -> ModelAudit:
    """Audit a model from its per-image values.

    Args:
        record: Per-image values of the model.
        people: Identity on each image of each evaluation set.
        scores: The model's scores.
        original: Per-image values of the original on the same images, for the positive control.
        references: The same of models that were retrained without the forgotten people.
        margin: Largest difference of the AUC from 0.5 that counts as no leak.

    Raises:
        DataError: If the same people are in forget and in unseen, so that there is nobody to compare with.
    """
    forgotten, strangers = set(people["forget"].tolist()), set(people["unseen"].tolist())
    if not forgotten - strangers or not strangers - forgotten:
        raise DataError(
            f"forget and unseen hold the same people ({', '.join(sorted(forgotten & strangers)[:3])}). Give images of "
            "people whom the model never saw as unseen."
        )
    fleet = fleet_of(people)
    if not all(np.isfinite(columns["loss"]).all() for columns in record.values.values()):
        verdict = Verdict("cannot tell", "The model's outputs are not finite: it has diverged.")
        return ModelAudit(scores, record, people, None, None, None, verdict)

    def attacked(scores_of_images: Array) -> Attack:
        return attack(scores_of_images[None], fleet)

    if original is not None and len(references) >= LEAST_REFERENCES:
        own, before, *models = (
            {name: log_p(margins) for name, margins in margins_of(each).items()}
            for each in (record, original, *references)
        )
        out = {name: np.array([each[name] for each in models]) for name in ATTACKED}
        a = calibrate(before["forget"], before["unseen"], out["forget"], out["unseen"])
        privacy, positive = (attacked(rmia_of_sets(each, models, a)) for each in (own, before))
        others = [rmia_of_sets(each, [*models[:place], *models[place + 1 :]], a) for place, each in enumerate(models)]
        never = attacked(np.mean(others, axis=0))
        verdict = judge(privacy.people, positive.people, never.people, margin)
        return ModelAudit(scores, record, people, privacy, positive.people, never.people, verdict)

    def by_margins(each: Audit) -> Array:
        margins = margins_of(each)
        return np.concatenate([margins[name].mean(axis=1) for name in ATTACKED])

    privacy = attacked(by_margins(record))
    control = None if original is None else attacked(by_margins(original)).people
    reference = [by_margins(each) for each in references]
    negative = attacked(np.mean(reference, axis=0)).people if reference else None
    if control is None:
        verdict = judge(privacy.people, Interval(1.0, 1.0, 1.0, 0.0), negative, margin)
        if verdict.answer == "pass":
            sentence = "Nothing was found, but without the original nobody knows whether the attack can find anything."
            verdict = Verdict("cannot tell", sentence)
    else:
        verdict = judge(privacy.people, control, negative, margin)
    weak = verdict.answer == "pass" or (verdict.answer == "cannot tell" and privacy.people.covers(CHANCE))
    verdict = replace(verdict, sentence=verdict.sentence + WEAK) if weak else verdict
    return ModelAudit(scores, record, people, privacy, control, negative, verdict)
