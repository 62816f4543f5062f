"""Write an audit: ``audit.json``, ``audit.md`` and ``audit.html``."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gli.errors import DataError
from gli.report.page import document, html_table
from gli.report.tables import Table, markdown
from gli.system.files import atomic_write, write_json

if TYPE_CHECKING:
    from gli.audit.method_audit import MethodAudit
    from gli.audit.run_audit import RunAudit
    from gli.metrics.intervals import Interval

#: Number of people that are named as the most exposed.
WORST = 5
HOW_TO_READ = (
    "An attacker has many models of the same method and guesses, person by person, whether a model has forgotten the "
    "person or never saw them. AUC is the probability that the attacker ranks a forgotten person above one who was "
    "never seen: 0.5 is guessing, 1 is certainty; below 0.5, forgotten people stand out by being forgotten too well. "
    "Square brackets hold the 95 % confidence interval: of an AUC over originals and people, of memory over originals, "
    "of KLoM over people only."
)
COLUMNS = (
    "Against retraining: forgotten people against the same people in retrained models; 0.5 if unlearning equals "
    "retraining. "
    "Memory: 1 as before unlearning, 0 as retrained, below 0 over-unlearned. Excess KLoM: distance of the margins to "
    "those of retrained models beyond the distance between retrained models, in nats; 0 if unlearning equals "
    "retraining. Memorised third: AUC of the third of the people whom the originals memorised most."
)


def shown(interval: Interval, digits: int = 2) -> str:
    """Return an interval as text; empty where there is none."""
    if math.isnan(interval.value):
        return ""
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def table_of_audits(audits: Sequence[MethodAudit], costs: Mapping[str, float]) -> Table:
    """Return the table of an audit: a row for each method.

    Args:
        audits: The methods.
        costs: Training time of each method as a share of retraining.
    """
    headings = [
        "method",
        "verdict",
        "AUC per person",
        "per image",
        "TPR at 5 % FPR",
        "against retraining",
        "memory",
        "excess KLoM, forgotten",
        "excess KLoM, retained",
        "memorised third",
        "test accuracy",
        "cost / retraining",
    ]
    rows = [
        [
            audit.name,
            audit.verdict.answer,
            shown(audit.privacy.people),
            shown(audit.privacy.images),
            f"{audit.privacy.rate:.2f}",
            shown(audit.efficacy.people),
            shown(audit.memory),
            shown(audit.klom["forgotten"]),
            shown(audit.klom["retained"]),
            f"{audit.strata[-1]:.2f}",
            f"{audit.accuracy.mean():.3f}",
            f"{costs[audit.name]:.2f}" if audit.name in costs else "",
        ]
        for audit in audits
    ]
    return Table(headings, rows)


def write_audit(
    output: Path, data: str, audits: Sequence[MethodAudit], costs: Mapping[str, float], facts: Mapping[str, Any]
) -> None:
    """Write an audit into a folder.

    Args:
        output: The folder.
        data: Name of the data set.
        audits: The methods.
        costs: Training time of each method as a share of retraining.
        facts: Numbers of models and people, margin, and who chose the settings, by name.
    """
    notes = [HOW_TO_READ, COLUMNS, *(f"{name}: {value}." for name, value in facts.items())]
    table = table_of_audits(audits, costs)
    exposed = {audit.name: _named(audit) for audit in audits}
    text = audit_markdown(data, notes, audits, table, exposed)
    page = _page(data, notes, table, audits)  # Before anything is written: drawing may fail.
    write_json(output / "audit.json", as_json(data, audits, costs, facts))
    with atomic_write(output / "audit.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic_write(output / "audit.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def audit_markdown(
    data: str,
    notes: Sequence[str],
    audits: Sequence[MethodAudit | RunAudit],
    table: Table,
    exposed: Mapping[str, str],
) -> str:
    """Return an audit in Markdown: notes, verdicts, table, and the most exposed people.

    Args:
        data: Name of the data set.
        notes: Paragraphs above the verdicts.
        audits: The methods or runs.
        table: Their table.
        exposed: The most exposed people of each method, as text.
    """
    verdicts = [f"- **{audit.name}**: {audit.verdict.answer}. {audit.verdict.sentence}" for audit in audits]
    people = [f"- **{name}**: {text}" for name, text in exposed.items()]
    paragraphs = [
        f"# Audit: {data}",
        *notes,
        "## Verdicts",
        "\n".join(verdicts),
        "## Table",
        markdown(table),
        "## The most exposed people",
        "\n".join(people),
    ]
    return "\n\n".join(paragraphs) + "\n"


def most_exposed(audit: MethodAudit | RunAudit) -> str:
    """Return the names of the most exposed people with their scores, as text."""
    return ", ".join(f"{person.name} ({person.score:+.2f})" for person in audit.exposed[:WORST])


def _named(audit: MethodAudit) -> str:
    scores = "difference of the mean score between models that forgot and that never saw them"
    return f"{most_exposed(audit)} ({scores})"


def _page(data: str, notes: Sequence[str], table: Table, audits: Sequence[MethodAudit]) -> str:
    """Return the page of an audit, which needs no other file and no network."""
    from gli.report.audit_plots import people_svg  # Needs matplotlib.

    title = html.escape(data)
    body = [f"<h1>{title}: what unlearned models still give away</h1>"]
    body += [f"<p>{html.escape(note)}</p>" for note in notes]
    body.append(html_table(table, "Methods"))
    for audit in audits:
        body += [
            f"<h2>{html.escape(audit.name)}: {html.escape(audit.verdict.answer)}</h2>",
            f"<p>{html.escape(audit.verdict.sentence)}</p>",
            f"<figure>{people_svg(audit)}</figure>",
            f"<p>Most exposed: {html.escape(_named(audit))}.</p>",
        ]
    return document(f"{title}: audit", body)


def interval_values(interval: Interval) -> dict[str, float]:
    """Return an interval as plain values."""
    return {"value": interval.value, "low": interval.low, "high": interval.high, "error": interval.error}


def as_json(
    data: str, audits: Sequence[MethodAudit], costs: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an audit as nested plain values."""
    methods = [
        {
            "method": audit.name,
            "verdict": audit.verdict.answer,
            "sentence": audit.verdict.sentence,
            "auc_person": interval_values(audit.privacy.people),
            "auc_image": interval_values(audit.privacy.images),
            "tpr_at_5_percent": audit.privacy.rate,
            "auc_person_against_retraining": interval_values(audit.efficacy.people),
            "detectable": audit.privacy.people.detectable,
            "memory": interval_values(audit.memory),
            "excess_klom": {state: interval_values(value) for state, value in audit.klom.items()},
            "auc_by_memorisation": audit.strata,
            "test_accuracy": float(np.mean(audit.accuracy)),
            "cost": costs.get(audit.name),
            "models": audit.models,
            "diverged": audit.diverged,
            "people": [
                {"name": each.name, "auc": each.advantage, "score": each.score, "models": each.models}
                for each in audit.exposed
            ],
        }
        for audit in audits
    ]
    return {"data": data, **dict(facts), "methods": methods}


def read_audited(path: Path) -> dict[str, str]:
    """Return the AUC per person of each method of an audit, with its interval and verdict, as text.

    Args:
        path: ``audit.json`` of an audit, or its folder.

    Raises:
        DataError: If it is not the result of an audit.
    """
    path = path / "audit.json" if path.is_dir() else path
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        methods = contents["methods"] if "methods" in contents else contents["runs"]
        result = {}
        for each in methods:
            name = "Original" if each["method"] == "No unlearning" else str(each["method"])
            area = each["auc_person"]
            result[name] = f"{area['value']:.2f} [{area['low']:.2f}, {area['high']:.2f}] {each['verdict']}"
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Name the folder of an audit, which gli audit has written.") from error
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as the result of an audit ({error}).") from error
    return result
