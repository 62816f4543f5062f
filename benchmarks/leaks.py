"""Planted leaks of known size: the smallest dose that each attack finds with a probability of 80 %.

    python -m benchmarks.leaks                 the table of docs/audits.md: a few minutes on one core
    python -m benchmarks.leaks --draws 10      a rough one

Margins, features and neighbours of a retrained model, an original and eight references are simulated for 60 forgotten
and 60 never seen people with three photographs each. A leak moves the retrained model towards the original: by nothing
at a dose of 0, all the way at 1. An attack *finds* it if its 95 % interval excludes what a model without a leak has;
where the audit has no interval (MIA, two snapshots), that of one more retrained model counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from gli.auditing import UPRIGHT
from gli.auditing.inside import Inside, through_neighbours
from gli.auditing.inside import People as Subjects
from gli.auditing.reference_audit import ATTACKED, SETS, People, Relative, Views, audit, iam, snapshots
from gli.data.views import VIEWS
from gli.erasure.evidence import Models, Outputs, gather_evidence
from gli.metrics.features import excess_over_references, verification_areas
from gli.metrics.intervals import mean_interval, people_means
from gli.metrics.klom import excess_klom
from gli.metrics.membership_inference import membership_inference_accuracy

Array = npt.NDArray[np.float64]
PEOPLE, PICTURES, REFERENCES, DIMENSIONS = 60, 3, 8, 16
NUMBERS = np.repeat(np.arange(PEOPLE), PICTURES)
DOSES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
POWER = 0.8
#: Memory of the original by view, in margins: augmentation teaches views that are near to the upright one.
NEAR = ("mirrored", "darker", "brighter", "cropped")
MEMORY = {UPRIGHT: 3.0, **{view: 2.0 if view in NEAR else 0.7 for view in VIEWS}}
#: The sets of people with neighbours, and the names of these.
BESIDE = {name: f"neighbours of {name}" for name in ATTACKED}
#: Spread of a margin between training runs, of which one half is the same in all views.
NOISE = 0.7


@dataclass(frozen=True)
class Model:
    """What attackers see of one model.

    Attributes:
        answers: Margins by view and set.
        features: Features of the forgotten people's photographs, shape ``(images, dimensions)``.
        neighbours: Margins of retained people who look like the forgotten or the never seen ones, by set, shape
            ``(images,)``.
    """

    answers: Views
    features: Array
    neighbours: Mapping[str, Array]


class World:
    """The people of one draw, and models that are trained on them.

    Args:
        seed: Seed of the draw.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.generator = seed, np.random.default_rng(seed)
        shape = len(NUMBERS)
        self.easy = {name: {UPRIGHT: 2 * self.generator.normal(size=shape)} for name in (*SETS, *BESIDE.values())}
        for of_set in self.easy.values():
            of_set |= {view: of_set[UPRIGHT] + self.generator.normal(-0.5, 1, shape) for view in VIEWS}
        self.faces = self.generator.normal(size=(PEOPLE, DIMENSIONS))[NUMBERS]
        self.original = self.model(MEMORY, 1.0, 1.0)
        self.references = [self.model() for _ in range(REFERENCES)]
        self.identities = {name: np.char.add(name, NUMBERS.astype(str)) for name in SETS}
        self.people = People(self.identities)

    def model(self, memory: dict[str, float] | None = None, seen: float = 0.0, neighbours: float = 0.0) -> Model:
        """Return a newly trained model.

        Args:
            memory: Memory of the forgotten people by view, in margins.
            seen: How closely the features gather the photographs of a forgotten person, 1 as in training.
            neighbours: How far the answers for neighbours of the forgotten move towards those of the original.
        """
        shape, answers = len(NUMBERS), {view: {} for view in MEMORY}
        for name in SETS:
            common = self.generator.normal(size=shape)
            for view in MEMORY:
                noise = NOISE * np.sqrt(0.5) * (common + self.generator.normal(size=shape))
                gain = (memory or {}).get(view, 0.0) if name == "forget" else 0.0
                answers[view][name] = (self.easy[name][view] + noise + gain)[:, None]
        features = self.faces + 1.5 * (1 - 0.4 * seen) * self.generator.normal(size=self.faces.shape)
        beside = {
            name: self.easy[near][UPRIGHT] + NOISE * self.generator.normal(size=shape) + neighbours * (name == "forget")
            for name, near in BESIDE.items()
        }
        return Model(answers, features, beside)


#: From a world and a dose to the model that is audited; and whether an attack finds the leak in it.
Leak, Attack = Callable[[World, float], Model], Callable[[World, Model], bool]


# -- leaks: from a world and a dose to the model that is audited -------------------------------------------------------


def interpolated(world: World, dose: float) -> Model:
    """Return a model whose answers lie between those of a retrained model and of the original."""
    retrained, original = world.model(), world.original
    answers = {
        view: {name: (1 - dose) * retrained.answers[view][name] + dose * original.answers[view][name] for name in SETS}
        for view in MEMORY
    }
    return Model(answers, world.model(seen=dose).features, world.model(neighbours=dose).neighbours)


def transposed_only(world: World, dose: float) -> Model:
    """Return a model that answers transposed photographs with the original's memory of upright ones."""
    return world.model({"transposed": dose * MEMORY[UPRIGHT]})


def features_only(world: World, dose: float) -> Model:
    """Return a model with the original's features and a retrained head."""
    return world.model(seen=dose)


def taught_neighbours(world: World, dose: float) -> Model:
    """Return a model that answers for neighbours as a student of the original would."""
    return world.model(neighbours=dose)


def one_person(world: World, dose: float) -> Model:
    """Return a model that remembers one of the forgotten people, in all views."""
    model, remembered = world.model(), NUMBERS == 0
    answers = {
        view: {**sets, "forget": sets["forget"] + dose * MEMORY[view] * remembered[:, None]}
        for view, sets in model.answers.items()
    }
    return replace(model, answers=answers)


def equal_on_average(world: World, dose: float) -> Model:
    """Return a model that games MIA: forgotten photographs have the margins of never seen ones, at random."""
    model = world.model()
    answers = {}
    for view, sets in model.answers.items():
        drawn = world.generator.permutation(sets["unseen"])
        answers[view] = {**sets, "forget": (1 - dose) * sets["forget"] + dose * drawn}
    return replace(model, answers=answers)


LEAKS: dict[str, Leak] = {
    "full memory": interpolated,
    "the transposed view only": transposed_only,
    "one person of sixty": one_person,
    "equal on average (games MIA)": equal_on_average,
    "features, not answers": features_only,
    "through neighbours": taught_neighbours,
}


# -- attacks: whether they find a leak ---------------------------------------------------------------------------------


def losses(model: Model) -> list[Array]:
    """Return the upright losses of forgotten and of never seen photographs."""
    return [np.logaddexp(0, -model.answers[UPRIGHT][name][:, 0]) for name in ATTACKED]


def paper_mia(world: World, model: Model) -> bool:
    """Compare the MIA accuracy of the paper with that of the references."""
    return is_unlike(membership_inference_accuracy(*losses(model)), reference_mia(world.seed))


def is_unlike(value: float, references: Array) -> bool:
    """Return whether a score lies outside the interval for one more retrained model, by the spread between them."""
    width = stats.t.ppf(0.975, len(references) - 1) * references.std(ddof=1) * np.sqrt(1 + 1 / len(references))
    return bool(abs(value - references.mean()) > width)


@cache
def reference_mia(seed: int) -> Array:
    """Return the MIA accuracy of each reference of a world."""
    return np.array([membership_inference_accuracy(*losses(each)) for each in World(seed).references])


def audited(world: World, model: Model, *views: str) -> bool:
    """Return whether the interval of the strongest of some views excludes 0.5."""
    chosen = [{view: each.answers[view] for view in views} for each in (model, world.original, *world.references)]
    result = audit(world.identities, chosen[0], chosen[1], chosen[2:]).attack
    return result is not None and not result.people.covers(0.5)


def relative_iam(world: World, model: Model) -> bool:
    """Return whether the interval of IAM excludes 0.5."""
    out, original = [each.answers[UPRIGHT] for each in world.references], world.original.answers[UPRIGHT]
    relative = Relative(lambda target, references: iam(target, references, original), out)
    return not world.people.attack("IAM", relative.of(model.answers[UPRIGHT])).people.covers(0.5)


def two_snapshots(world: World, model: Model) -> bool:
    """Compare the AUC of the attacker who also has the original with that on each reference."""
    every = [each.answers[UPRIGHT] for each in (world.original, model, *world.references)]
    areas = [snapshots(world.people, every[0], [each]).value for each in every[1:]]
    return is_unlike(areas[0], np.array(areas[1:]))


def klom(model: Array, references: Array) -> bool:
    """Return whether the excess KLoM is above 0."""
    distances, floor = excess_klom(model[None], references)
    return mean_interval(people_means(distances - floor, NUMBERS)[0]).low > 0


def klom_forgotten(world: World, model: Model) -> bool:
    """Return whether the excess KLoM of forgotten photographs is above 0."""
    every = [each.answers[UPRIGHT]["forget"][:, 0] for each in (model, *world.references)]
    return klom(every[0], np.array(every[1:]))


def klom_neighbours(world: World, model: Model) -> bool:
    """Return whether the excess KLoM of neighbours, as of relatives, is above 0."""
    return klom(model.neighbours["forget"], np.array([each.neighbours["forget"] for each in world.references]))


def attacked_neighbours(world: World, model: Model) -> bool:
    """Return whether the interval of the attack through neighbours excludes 0.5."""
    every = [Inside({}, {}, each.neighbours) for each in (model, *world.references)]
    shown = torch.zeros(len(NUMBERS))
    sides = dict.fromkeys(BESIDE, Subjects(shown, shown, NUMBERS))
    return not through_neighbours(sides, every[0], None, every[1:])["model"].covers(0.5)


def reidentified(world: World, model: Model) -> bool:
    """Return whether features show better than the references' which photographs show the same person."""
    areas = [verification_areas(each.features, NUMBERS) for each in (model, *world.references)]
    every = [people_means(each, NUMBERS)[0] for each in areas]
    return not excess_over_references(every[0], np.array(every[1:])).covers(0)


def worst_person(world: World, model: Model) -> bool:
    """Return whether the test of single people in ``gli erase run`` fails for a batch of the first person alone."""

    def outputs(each: Model, name: str) -> Outputs:
        rows = NUMBERS == 0 if name == "forget" else NUMBERS >= 0
        others = {view: each.answers[view][name][rows] for view in VIEWS}
        hits, labels = np.ones((rows.sum(), 1)), np.zeros(rows.sum(), dtype=np.int64)
        return Outputs(each.answers[UPRIGHT][name][rows], hits, NUMBERS[rows], labels, others)

    forget, unseen, test = (
        Models(outputs(world.original, name), outputs(model, name), [outputs(each, name) for each in world.references])
        for name in ("forget", "unseen", "test")
    )
    evidence = gather_evidence(forget, None, unseen, test, 0.1, 0.1, False, ("a",))
    return next(each.answer == "fail" for each in evidence.findings if each.name == "the worst single person")


ATTACKS: dict[str, Attack] = {
    "MIA of the paper": paper_mia,
    "RMIA, upright": lambda world, model: audited(world, model, UPRIGHT),
    "**RMIA, strongest view**": lambda world, model: audited(world, model, *MEMORY),
    "worst single person (a batch of one)": worst_person,
    "IAM": relative_iam,
    "two snapshots": two_snapshots,
    "KLoM, forgotten": klom_forgotten,
    "KLoM, relatives": klom_neighbours,
    "through neighbours": attacked_neighbours,
    "re-identification": reidentified,
}


def power(leak: Leak, dose: float, attack: Attack, draws: int) -> float:
    """Return the share of draws in which an attack finds a leak."""
    worlds = (World(seed) for seed in range(draws))
    return float(np.mean([attack(world, leak(world, dose)) for world in worlds]))


def smallest_dose(leak: Leak, attack: Attack, draws: int) -> float | None:
    """Return the smallest dose that is found often enough, by bisection; None if not even a dose of 1 is."""
    if power(leak, DOSES[-1], attack, draws) < POWER:
        return None
    low, high = -1, len(DOSES) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(leak, DOSES[middle], attack, draws) >= POWER else (middle, high)
    return DOSES[high]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.leaks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=40, help="draws of each leak and dose (40)")
    draws = parser.parse_args().draws
    print(f"| attack | no leak | {' | '.join(LEAKS)} |\n|---|{'---|' * (len(LEAKS) + 1)}")
    for name, attack in ATTACKS.items():
        alarms = power(interpolated, 0.0, attack, draws)
        doses = [smallest_dose(leak, attack, draws) for leak in LEAKS.values()]
        cells = ["" if dose is None else f"{dose:g}" for dose in doses]
        print(f"| {name} | {100 * alarms:.0f} % | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
