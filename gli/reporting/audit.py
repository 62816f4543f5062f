"""Write and read an audit: ``audit.json``, and ``audit.md`` and ``audit.html``, which are made from it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gli.auditing import UPRIGHT
from gli.errors import DataError
from gli.reporting.page import render
from gli.reporting.results import NO_UNLEARNING
from gli.reporting.tables import Table
from gli.system.files import write_json, write_text

Values = Mapping[str, Any]
#: Number of people that are named as the most exposed.
WORST = 5
AUC = (
    "AUC is the probability that the attacker ranks a forgotten person above one who was never seen: 0.5 is guessing, "
    "1 is certainty; below 0.5, forgotten people stand out by being forgotten too well. Square brackets hold the 95 % "
    "confidence interval"
)
METHOD_NOTES = (
    "An attacker has many models of the same method and guesses, person by person, whether a model has forgotten the "
    f"person or never saw them. {AUC}: of an AUC over originals and people, of memory over originals, of KLoM over "
    "people only.",
    "Against retraining: forgotten people against the same people in retrained models; 0.5 if unlearning equals "
    "retraining. Memory: 1 as before unlearning, 0 as retrained, below 0 over-unlearned. Excess KLoM: distance of the "
    "margins to those of retrained models beyond the distance between retrained models, in nats; 0 if unlearning "
    "equals retraining. Retained people: the same attack on people who stay, in brackets in retrained models; larger "
    "if unlearning exposes them. Memorised third: AUC of the third of the people whom the originals memorised most.",
)
RUN_NOTES = (
    "An attacker has reference models that were retrained without the people, and guesses for each person whether the "
    f"audited model ever saw them (RMIA). {AUC} over people. The attacker shows the photographs in several views "
    "(upright, mirrored, transposed, tilted, cropped, in other colours), each compared with the references in the same "
    "view; the strongest attack decides, and its limit near 0.5 allows for the choice. The positive control is the "
    "strongest attack on the original, the negative control on the references themselves. IAM: another attack, which "
    "also has the original. Two snapshots: the attacker also has the original and sees whose outputs moved; compare "
    "with its control, a retrained model in place of the unlearned one. Memory: 1 as the original, 0 as retrained. "
    "Excess KLoM: 0 if unlearning equals retraining.",
)
INSIDE_NOTE = (
    "Differences from the reference models, with 95 % intervals over people and models; 0 if unlearning equals "
    "retraining, in brackets the original. A network that never saw a person still separates faces, so only "
    "differences count. Residual knowledge: right answers around forgotten pictures divided by those of the "
    "references; 1 if unlearning equals retraining."
)
INSIDE_COLUMNS = {
    "verification": "re-identification (AUC)",
    "verification, never seen": "re-identification, never seen",
    "rank 1": "re-identification (rank 1)",
    "probe": "linear probe (accuracy)",
    "around": "right answers nearby",
    "relearning": "loss while relearning (below 0: remembers)",
}
PICTURE_LABELS = {
    "methods": "score when forgotten\nminus when never seen",
    "runs": "rank among people\nwho were never seen",
}


def _has_value(values: Values | None) -> bool:
    """Return whether an interval has a value: NaN is null in a file."""
    return values is not None and values["value"] is not None and not math.isnan(values["value"])


def shown(values: Values | None, digits: int = 2) -> str:
    """Return an interval as text; empty where there is none."""
    if values is None or not _has_value(values):
        return ""
    return f"{values['value']:.{digits}f} [{values['low']:.{digits}f}, {values['high']:.{digits}f}]"


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _beside(interval: Values | None, compared: Values | None) -> str:
    """Return an interval and, in brackets, the value that it is compared with."""
    return shown(interval) + (f" ({compared['value']:.2f})" if compared is not None and _has_value(compared) else "")


def _upright(entry: Values) -> str:
    """Return the AUC of the attack on upright photographs; empty in audits of earlier versions."""
    return shown(entry.get("views", {}).get(UPRIGHT))


METHOD_COLUMNS: Mapping[str, Callable[[Values], str]] = {
    "method": lambda entry: str(entry["method"]),
    "verdict": lambda entry: str(entry["verdict"]),
    "AUC per person": lambda entry: shown(entry["auc_person"]),
    "upright alone": _upright,
    "per image": lambda entry: shown(entry["auc_image"]),
    "TPR at 5 % FPR": lambda entry: _number(entry["tpr_at_5_percent"]),
    "against retraining": lambda entry: shown(entry["auc_person_against_retraining"]),
    "memory": lambda entry: shown(entry["memory"]),
    "excess KLoM, forgotten": lambda entry: shown(entry["excess_klom"]["forgotten"]),
    "excess KLoM, retained": lambda entry: shown(entry["excess_klom"]["retained"]),
    "retained people (in retrained)": lambda entry: _beside(
        entry.get("auc_retained"), entry.get("auc_retained_in_retrained")
    ),
    "memorised third": lambda entry: _number(entry["auc_by_memorisation"][-1]),
    "test accuracy": lambda entry: _number(entry["test_accuracy"], 3),
    "cost / retraining": lambda entry: _number(entry["cost"]),
}
RUN_COLUMNS: Mapping[str, Callable[[Values], str]] = {
    "method": lambda entry: str(entry["method"]),
    "verdict": lambda entry: str(entry["verdict"]),
    "AUC per person (RMIA)": lambda entry: shown(entry["auc_person"]),
    "upright alone": _upright,
    "original": lambda entry: shown(entry["auc_person_original"]),
    "retrained": lambda entry: shown(entry["auc_person_references"]),
    "TPR at 5 % FPR": lambda entry: _number(entry["tpr_at_5_percent"]),
    "IAM (original)": lambda entry: _beside(entry.get("iam"), entry.get("iam_original")),
    "memory": lambda entry: _number(entry["memory"]),
    "excess KLoM, forgotten": lambda entry: shown(entry["excess_klom"]["forgotten"]),
    "two snapshots": lambda entry: shown(entry["two_snapshots"]),
    "its control": lambda entry: shown(entry["two_snapshots_control"]),
    "test accuracy": lambda entry: _number(entry["test_accuracy"], 3),
    "run": lambda entry: str(entry["run"]),
}


def _kind(contents: Values) -> str:
    return "methods" if "methods" in contents else "runs"


def _entries(contents: Values) -> Sequence[Values]:
    entries: Sequence[Values] = contents[_kind(contents)]
    return entries


def tables_of(contents: Values) -> dict[str, Table]:
    """Return the tables of an audit by their headings."""
    entries = _entries(contents)
    columns = METHOD_COLUMNS if _kind(contents) == "methods" else RUN_COLUMNS
    tables = {"Table": Table(list(columns), [[cell(entry) for cell in columns.values()] for entry in entries])}
    for heading, key in (("AUC per person", "views"), ("Against retraining", "views_against_retraining")):
        views = {view: None for entry in entries for view in entry.get(key, ())}
        if len(views) > 1:
            rows = [[view, *(shown(entry.get(key, {}).get(view)) for entry in entries)] for view in views]
            tables[f"{heading} by view"] = Table(["view", *(str(entry["method"]) for entry in entries)], rows)
    if any(entry.get("inside") for entry in entries):
        tables["Beyond the answers"] = _inside_table(entries)
    return tables


def _inside_table(entries: Sequence[Values]) -> Table:
    """Return what the weights give away: a row for each run."""
    rows = []
    for entry in entries:
        inside = entry.get("inside") or {"values": {}, "residual": None, "excess_klom": {}}
        values, klom = inside["values"], inside["excess_klom"]
        cells = [_beside(_part(values, name, "difference"), _part(values, name, "original")) for name in INSIDE_COLUMNS]
        sides = [shown(klom.get(name)) for name in ("relatives", "retained")]
        near = inside.get("neighbours", {})
        sides += [_beside(near.get("model"), near.get("original")), shown(near.get("references"))]
        rows.append([str(entry["method"]), *cells, _number(inside["residual"]), *sides])
    headings = ["residual knowledge", "excess KLoM, relatives", "excess KLoM, retained"]
    headings += ["through neighbours (AUC)", "the same, retrained"]
    return Table(["method", *INSIDE_COLUMNS.values(), *headings], rows)


def _part(values: Values, name: str, part: str) -> Values | None:
    interval: Values | None = values[name][part] if name in values else None
    return interval


def _notes(contents: Values) -> list[str]:
    facts = [f"{name}: {value}." for name, value in contents.items() if name not in ("data", "methods", "runs")]
    inside = [INSIDE_NOTE] if any(entry.get("inside") for entry in _entries(contents)) else []
    return [*(METHOD_NOTES if _kind(contents) == "methods" else RUN_NOTES), *inside, *facts]


def most_exposed(entry: Values) -> str:
    """Return the names of the most exposed people of a method or run with their scores, as text."""
    return ", ".join(f"{person['name']} ({person['score']:+.2f})" for person in entry["people"][:WORST])


def _distinguished(picture: Values) -> str:
    """Return in a sentence how many people the attack distinguishes."""
    count, above, below = len(picture["values"]), picture["above"], picture["below"]
    return (
        f"{above} of {count} people lie above the grey band and {below} below it; by chance it would be about "
        f"{picture['expected']:.0f} on either side. The attack distinguishes who lies above; who lies below stands out "
        "by being forgotten too well."
    )


def audit_section(contents: Values) -> dict[str, Any]:
    """Return what a page shows of an audit: notes, a figure and a verdict for each method, then the tables."""
    from gli.reporting.plots import people_figure, svg_of, svg_settings  # Needs matplotlib.

    entries = []
    for entry in _entries(contents):
        shown_entry = {name: entry[name] for name in ("method", "verdict", "sentence")}
        shown_entry |= {"exposed": most_exposed(entry), "svg": ""}
        if picture := entry.get("picture"):
            with svg_settings():
                figure = people_figure(
                    picture["values"], picture["low"], picture["high"], PICTURE_LABELS[_kind(contents)]
                )
                shown_entry |= {"svg": svg_of(figure), "distinguished": _distinguished(picture)}
        entries.append(shown_entry)
    return {"data": contents["data"], "notes": _notes(contents), "entries": entries, "tables": tables_of(contents)}


def write_audit(output: Path, contents: Values) -> None:
    """Write an audit, the contents of :mod:`gli.auditing.contents`, into a folder."""
    section = audit_section(contents)  # Before anything is written: drawing may fail.
    write_json(output / "audit.json", contents)
    write_text(output / "audit.md", render("audit.md.j2", audit=section))
    write_text(output / "audit.html", render("audit.html.j2", title=f"{contents['data']}: audit", audit=section))


def read_audit(path: Path) -> dict[str, Any]:
    """Return the contents of an audit, from ``audit.json`` or its folder; DataError if it is none."""
    path = path / "audit.json" if path.is_dir() else path
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(contents["data"], str):
            raise TypeError("its data set has no name")
        auc_of_methods(contents)
        tables_of(contents)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Name the folder of an audit, which gli audit has written.") from error
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as the result of an audit ({error}).") from error
    return dict(contents)


def auc_of_methods(contents: Values) -> dict[str, str]:
    """Return the AUC per person of each method of an audit, with its interval and verdict, as text."""
    result = {}
    for entry in _entries(contents):
        name = "Original" if entry["method"] == NO_UNLEARNING else str(entry["method"])
        result[name] = f"{shown(entry['auc_person'])} {entry['verdict']}"
    return result
