"""``gli check``: look at the data before a run."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from gli.commands.parse import Flag
from gli.errors import GLIError, SettingError
from gli.runs.configs import configs_among, resolve_arguments
from gli.system.files import json_text, read_yaml

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
    """The results of a dry run."""

    data: str  # Class name of the data module.
    split: str  # Its split.
    inventory: Inventory  # The contents of the table and of its sets.
    near_copies: int  # Images outside forget that look like one in it, exact copies included.
    power: Mapping[str, float]  # Standard error and smallest detectable difference of an audit's AUC over people.
    timing: Timing | None = None  # Time of the method; None where it was not measured.
    audit_seconds: float | None = None  # Time of one audit of the run; None where no step was measured.
    step_milliseconds: Mapping[str, float] = field(default_factory=dict)  # Of a small step on a CPU, by precision.
    original: str = ""  # Whether the original is given, found, or has to be trained first.
    notes: list[str] = field(default_factory=list)  # Warnings for the user before a run.


def check(*, json: bool = False, steps: int = 2, settings: Annotated[Sequence[str], Flag(rest=True)] = ()) -> None:
    """Look at the data before a run: sets, people, copies, balance, power of an audit, minutes of the method.

    gli check --data FaceTable --data.root photos --data.csv faces.csv --data.forget_identities requests.txt
    gli check --config scrub_mufac --data.root data/mufac --json

    Every other setting is that of gli fit, whose run is checked. Nothing is trained, and no folder of a run is made;
    the pixel cache is filled, which gli fit would do as well.

    Args:
        json: Print the result as JSON.
        steps: Steps of each pass to time; 0 for none.
        settings: Settings of ``gli fit``.
    """
    if steps < 0:
        raise SettingError(f"steps is {steps}; it must not be negative.")
    command = dry_run(settings)
    data = command.datamodule
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data.setup()
    checked = look(data)
    checked.notes += [str(warning.message) for warning in caught]
    checked.original = _original(command)
    if steps:
        time_method(command, checked, steps)
    if json:
        print(json_text(asdict(checked)))
    else:
        show(checked)


def dry_run(rest: Sequence[str]) -> CLI:
    """Parse the settings of ``gli fit``, build its model, data and trainer, and run nothing.

    ``rest`` is the command line without ``fit``; without a method it is for :data:`DEFAULT_METHOD`.

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

    resolved = resolve_arguments(rest, fit.method_names())
    files = [read_yaml(path, "a configuration") for path in configs_among(resolved)]
    named = any(argument.partition("=")[0] == "--model" for argument in resolved)
    named |= any(isinstance(contents, Mapping) and "model" in contents for contents in files)
    method = [] if named else [f"--model={DEFAULT_METHOD}"]
    return fit.run(["fit", *method, *resolved, "--trainer.logger=false"], DryRun)


# -- what is looked at -------------------------------------------------------------------------------------------------


def look(data: FaceDataModule) -> Checked:
    """Return what a dry run finds in a data module that is set up, without times."""
    import numpy as np

    from gli.auditing.verdict import MARGIN
    from gli.data.inventory import label_distance, take_inventory
    from gli.data.near_copies import find_near_copies
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
    remaining = np.concatenate([rows for name, rows in data.splits.items() if name != "forget"])
    copies = {pair.copy_row for pair in find_near_copies(data.pixels, data.splits["forget"], remaining)}
    checked = Checked(type(data).__name__, data.split, inventory, len(copies), power)
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


def _original(command: CLI) -> str:
    """Return whether the original of the run is given, found, or has to be trained."""
    from gli.engine.originals import original_path

    method, data = command.model, command.datamodule
    if not method.needs_original:
        return "not needed"
    if method.original is not None:
        return f"given: {method.original}" if Path(method.original).exists() else f"{method.original}: no such file"
    precision = str(command.trainer.precision)
    path = original_path(command.originals, data, method, data.recipe, command.seed, precision=precision)
    return f"found: {path}" if path.exists() else f"to be trained first ({data.recipe.epochs} epochs)"


# -- minutes -----------------------------------------------------------------------------------------------------------


def time_method(command: CLI, checked: Checked, steps: int) -> None:
    """Add the time of the method: that of a finished run with the same settings, or an estimate from a few steps."""
    import torch
    import yaml

    from gli.engine.precision import step_seconds
    from gli.engine.timing import finished_run, measure, planned_passes, seconds_per_audit
    from gli.runs.cost import device_name
    from gli.runs.read import REPEATS, flatten, shared_trainer

    method, data, trainer = command.model, command.datamodule, command.trainer
    name, device, limit = type(method).__name__, trainer.strategy.root_device, trainer.max_steps
    # As the folder of a run has them.
    settings = yaml.safe_load(command.parser.dump(command.config, skip_unset=False, skip_link_targets=False))["fit"]
    written = flatten({"data": settings["data"].get("init_args") or {}, "model": {"backbone": method.backbone}})
    written = {key: value for key, value in written.items() if key.rpartition(".")[2] not in REPEATS}
    # As in Lightning, a limit of steps alone lets a run begin as many epochs as it takes.
    default = None if limit >= 0 else method.default_epochs(data.recipe)
    epochs = default if trainer.max_epochs in (None, -1) else trainer.max_epochs
    try:
        method.check()
        passes = planned_passes(method, data, epochs, limit)
        iterations = sum(count for _, count in passes)
        finished = finished_run(name, data, written, iterations, command.logs, device_name(device))
        checked.timing = finished or measure(method, data, passes, steps, shared_trainer(settings["trainer"]))
        if finished is None:
            checked.audit_seconds = seconds_per_audit(method, data, device)
        if device.type == "cpu":
            types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
            checked.step_milliseconds = {name: 1000 * step_seconds(dtype) for name, dtype in types.items()}
    except GLIError as error:
        checked.notes.append(f"{name} was not timed. {error}")


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
    sets.add_row("images", *(str(content.images) for content in contents))
    sets.add_row("people", *(str(content.people) for content in contents), end_section=True)
    for label in contents[0].labels:
        counts = [(content.labels[label], content.images) for content in contents]
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
    if checked.timing is not None:
        timing = checked.timing
        audit = "" if checked.audit_seconds is None else f" One audit takes about {checked.audit_seconds:.1f} s more."
        output.print(
            f"{timing.method}: {timing.iterations} iterations take {timing.seconds / 60:.2f} minutes without audits "
            f"({timing.source}).{audit}",
            soft_wrap=True,
        )
    if checked.step_milliseconds:
        times = " and ".join(f"{value:.1f} ms in {name}" for name, value in checked.step_milliseconds.items())
        output.print(f"A small training step takes {times} on this processor.")
    for note in checked.notes:
        output.print(f"Note: {note}", soft_wrap=True)


def _detectable(difference: float) -> str:
    if difference >= 0.5:
        return "No leak of any size would be found with a probability of 80 %."
    return f"A leak is found with a probability of 80 % if it moves the AUC by {difference:.2f} or more."
