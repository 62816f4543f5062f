"""Look at the data before a run: sets, people, copies, balance, power of an audit, minutes of each method.

gli check --data FaceTable --data.root photos --data.csv faces.csv --data.forget_identities requests.txt
gli check --config gli_mufac --data.root data/mufac --methods GLI SCRUB --json

Every other setting is that of gli fit, whose run is checked. Nothing is trained, and no folder of a run is made; the
pixel cache is filled, which gli fit would do as well.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gli.commands.main import make_parser
from gli.commands.parse import run_command
from gli.errors import GLIError, SettingError, did_you_mean
from gli.runs.configs import OPTIONS
from gli.system.files import json_text

if TYPE_CHECKING:
    from gli.data import FaceDataModule
    from gli.data.inventory import Inventory
    from gli.engine.fit import CLI
    from gli.engine.timing import Timing

#: Method whose run is checked where the command line names none.
DEFAULT_METHOD = "GLI"
#: Labels of forget and unseen that differ by more are a reason for different losses, without any memory.
LABEL_DISTANCE = 0.1


@dataclass
class Checked:
    """What a dry run found.

    Attributes:
        data: Class name of the data module.
        split: Its split.
        inventory: The contents of the table and of its sets.
        near_copies: Images outside forget that look like one in it, exact copies included.
        power: Standard error and smallest detectable difference of an audit's AUC over people.
        timings: Time of each method.
        unmeasured: Reason why a method has no time, by its name.
        audit_seconds: Time of one audit of the run; None where no step was measured.
        original: Whether the original is given, found, or has to be trained first.
        notes: What the user should know before a run.
    """

    data: str
    split: str
    inventory: Inventory
    near_copies: int
    power: Mapping[str, float]
    timings: list[Timing] = field(default_factory=list)
    unmeasured: dict[str, str] = field(default_factory=dict)
    audit_seconds: float | None = None
    original: str = ""
    notes: list[str] = field(default_factory=list)


def main(args: Sequence[str]) -> int:
    """Run ``gli check``; return the exit status 0, or 2 after an error that the user can correct."""
    parser = make_parser("check", __doc__)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="methods to time (default: all)")
    parser.add_argument("--steps", type=int, default=2, help="steps of each pass to time; 0 for none (default: 2)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="begin no further measurement after this time (default: 60)"
    )
    options, rest = parser.parse_known_args(args)
    return run_command("gli check", lambda: _check(options, rest))


def _check(options: argparse.Namespace, rest: Sequence[str]) -> int:
    if options.steps < 0:
        raise SettingError(f"--steps is {options.steps}; it must not be negative.")
    command = dry_run(rest)
    data = command.datamodule
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data.setup()
    checked = look(data)
    checked.notes += [str(warning.message) for warning in caught]
    checked.original = _original(command)
    if options.steps:
        time_methods(command, checked, options.methods, options.steps, options.seconds)
    if options.json:
        print(json_text(asdict(checked)))
    else:
        show(checked)
    return 0


def dry_run(rest: Sequence[str]) -> CLI:
    """Parse the settings of ``gli fit``, build its model, data and trainer, and run nothing.

    Args:
        rest: The command line without ``fit``; without a method and a configuration it is for :data:`DEFAULT_METHOD`.

    Raises:
        GLIError: If ``gli fit`` would refuse the settings.
    """
    from gli.engine import fit

    class DryRun(fit.CLI):
        """Parse and build what ``gli fit`` would run."""

        def before_fit(self) -> None:
            """Train no original."""

        def fit(self, **kwargs: Any) -> None:
            """Train nothing."""

        def after_fit(self) -> None:
            """Print nothing."""

    named = any(argument.partition("=")[0] in (*OPTIONS, "--model") for argument in rest)
    method = [] if named else [f"--model={DEFAULT_METHOD}"]
    return fit.run(["fit", *method, *rest, "--trainer.logger=false"], DryRun)


# -- what is looked at -------------------------------------------------------------------------------------------------


def look(data: FaceDataModule) -> Checked:
    """Return what a dry run finds in a data module that is set up, without times.

    Args:
        data: The data module.
    """
    from gli.auditing.verdict import MARGIN
    from gli.data.inventory import label_distance, take_inventory
    from gli.metrics.intervals import detectable_difference, null_error, people_for_margin

    inventory = take_inventory(data.faces, data.splits, data.digests)
    forgotten, unseen = (inventory.sets[name].people for name in ("forget", "unseen"))
    power = {
        "forgotten_people": forgotten,
        "unseen_people": unseen,
        "standard_error": null_error(forgotten, unseen),
        "detectable": detectable_difference(forgotten, unseen),
        "margin": MARGIN,
        "people_for_margin": people_for_margin(MARGIN),
    }
    checked = Checked(type(data).__name__, data.split, inventory, _near_copies(data), power)
    if power["detectable"] >= 0.5:
        checked.notes.append(
            "An audit of one model has no power: with so few people it would find no leak of any size. Forget more "
            "people at once, put more into unseen (data.unseen_share), or attack many models with gli audit --config."
        )
    missing = [name for name, count in inventory.sets["retain"].labels.items() if not count]
    if missing:
        checked.notes.append(f"No image in retain has the label {', '.join(missing)}: the model cannot keep it.")
    distance = label_distance(inventory.sets["forget"], inventory.sets["unseen"])
    if distance > LABEL_DISTANCE:
        checked.notes.append(
            f"The labels of forget and unseen differ: the share of one of them by {distance:.2f}. Their losses then "
            "differ without any memory; compare every attack with a retrained model."
        )
    if checked.near_copies:
        checked.notes.append(
            f"{checked.near_copies} images outside forget look like copies of images in it. A model that keeps them "
            "does not forget their people."
        )
    return checked


def _near_copies(data: FaceDataModule) -> int:
    """Return the number of images outside forget that look like one in it."""
    import numpy as np

    from gli.data.near_copies import find_near_copies

    others = np.concatenate([rows for name, rows in data.splits.items() if name != "forget"])
    pairs = find_near_copies(data.pixels, data.splits["forget"], others)
    return len({pair.copy_row for pair in pairs})


def _original(command: CLI) -> str:
    """Return whether the original of the run is given, found, or has to be trained."""
    from gli.engine.originals import original_path

    method, data = command.model, command.datamodule
    if not method.needs_original:
        return "not needed"
    if method.original is not None:
        return f"given: {method.original}" if Path(method.original).exists() else f"{method.original}: no such file"
    recipe = _recipe(data)
    precision = str(command.trainer.precision)
    path = original_path(command.originals, data, method, recipe, command.seed, precision=precision)
    return f"found: {path}" if path.exists() else f"to be trained first ({recipe.epochs} epochs)"


def _recipe(data: FaceDataModule) -> Any:
    """Return the recipe of the original: the epochs of the retrained model do not change its name."""
    from dataclasses import replace

    return replace(data.recipe, retrained_epochs=None)


# -- minutes -----------------------------------------------------------------------------------------------------------


def time_methods(command: CLI, checked: Checked, names: Sequence[str] | None, steps: int, seconds: float) -> None:
    """Add the time of each method: that of the command with its settings, the others with their default settings.

    Args:
        command: The dry run.
        checked: What was found so far; times are added to it.
        names: Class names of the methods; None for all.
        steps: Steps of each pass that are measured.
        seconds: Begin no further measurement after this time.

    Raises:
        SettingError: If there is no such method.
    """
    import time

    import yaml

    from gli import methods
    from gli.engine.timing import finished_run, measure, planned_passes, seconds_per_audit
    from gli.methods import Method
    from gli.runs.cost import device_name
    from gli.runs.read import REPEATS, flatten, shared_trainer
    from gli.system.classes import concrete_subclasses

    model, data, trainer = command.model, command.datamodule, command.trainer
    own = type(model).__name__
    classes = concrete_subclasses(Method)
    known = [own, *(name for name in methods.shipped() if name in classes and name != own)]
    for name in names or ():
        if name not in classes:
            raise SettingError(
                f"--methods {name}: no such method.{did_you_mean(name, known)} Known: {', '.join(known)}."
            )
    device = trainer.strategy.root_device
    # As the folder of a run has them.
    settings = yaml.safe_load(command.parser.dump(command.config, skip_unset=False, skip_link_targets=False))["fit"]
    written = flatten({"data": settings["data"].get("init_args") or {}, "model": {"backbone": model.backbone}})
    written = {name: value for name, value in written.items() if name.rpartition(".")[2] not in REPEATS}
    shared = shared_trainer(settings["trainer"])
    start = time.perf_counter()
    for name in names or known:
        try:
            given = {"backbone": model.backbone, "pretrained": model.pretrained, "normalize": model.normalize}
            method: Method = model if name == own else classes[name](**given)
            method.check()
            epochs: int | None = method.default_epochs(data.recipe)
            limit = -1
            if name == own:
                limit = trainer.max_steps
                limited = trainer.max_epochs not in (None, -1)
                # As in Lightning, a limit of steps alone lets a run begin as many epochs as it takes.
                epochs = trainer.max_epochs if limited else None if limit >= 0 else epochs
            passes = planned_passes(method, data, epochs, limit)
            iterations = sum(count for _, count in passes)
            timing = finished_run(name, data, written, iterations, command.logs, device_name(device))
            if timing is None and time.perf_counter() - start > seconds:
                checked.unmeasured[name] = f"not measured within {seconds:g} s (--seconds)"
                continue
            checked.timings.append(timing or measure(method, data, passes, steps, shared))
            if timing is None and checked.audit_seconds is None:
                checked.audit_seconds = seconds_per_audit(method, data, device)
        except GLIError as error:
            checked.unmeasured[name] = str(error)


# -- output ------------------------------------------------------------------------------------------------------------


def show(checked: Checked) -> None:
    """Print what was found."""
    from rich.console import Console
    from rich.table import Table

    output = Console(file=sys.stdout, highlight=False)
    inventory, power = checked.inventory, checked.power
    households = f" in {inventory.households} households" if inventory.households != inventory.people else ""
    output.print(f"{checked.data}, split {checked.split}: {inventory.images} images of {inventory.people} people"
                 f"{households}; {inventory.unused} images in no set")  # fmt: skip
    sets = Table("", *inventory.sets)
    contents = list(inventory.sets.values())
    sets.add_row("images", *(str(each.images) for each in contents))
    sets.add_row("people", *(str(each.people) for each in contents), end_section=True)
    for label in contents[0].labels:
        counts = [(each.labels[label], each.images) for each in contents]
        sets.add_row(label, *(f"{count} ({100 * count / max(1, images):.0f} %)" for count, images in counts))
    output.print(sets)
    output.print(
        f"Identical files: {inventory.duplicate_images} copies of {inventory.duplicate_files} files; "
        f"{inventory.shared_files} files are under several names."
    )
    output.print(f"Near-copies: {checked.near_copies} images outside forget look like one in forget.")
    for crossing in inventory.crossings:
        named = f" ({', '.join(crossing.people[:3])}{', ...' if len(crossing.people) > 3 else ''})"
        people = f"{len(crossing.people)} people{named if crossing.people else ''}"
        output.print(f"{' and '.join(crossing.sets)} share {people} and {crossing.files} identical files.")
    if not inventory.crossings:
        output.print("No person and no file is in two sets.")
    output.print(
        f"Audit of one model: {power['forgotten_people']:.0f} forgotten against {power['unseen_people']:.0f} unseen "
        f"people; without a leak the AUC per person has a standard error of {power['standard_error']:.3f}. "
        f"{_detectable(power['detectable'])} To show an AUC within 0.5 ± {power['margin']:g}, "
        f"{power['people_for_margin']:.0f} people on each side are needed at least."
    )
    output.print(f"Original: {checked.original}.", soft_wrap=True)
    if checked.timings or checked.unmeasured:
        times = Table("method", "iterations", "minutes", "source")
        for timing in checked.timings:
            times.add_row(timing.method, str(timing.iterations), f"{timing.seconds / 60:.2f}", timing.source)
        for name, reason in checked.unmeasured.items():
            times.add_row(name, "", "", reason)
        output.print(times)
        audit = "" if checked.audit_seconds is None else f" One audit takes about {checked.audit_seconds:.1f} s more."
        output.print(
            "Training steps only; the method of the command with its settings, the others with their defaults." + audit
        )
    for note in checked.notes:
        output.print(f"Note: {note}", soft_wrap=True)


def _detectable(difference: float) -> str:
    if difference >= 0.5:
        return "No leak of any size would be found with a probability of 80 %."
    return f"A leak is found with a probability of 80 % if it moves the AUC by {difference:.2f} or more."
