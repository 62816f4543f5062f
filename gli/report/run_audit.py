"""Write the audit of existing runs: ``audit.json`` and ``audit.md``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gli.report.audit import audit_markdown, interval_values, most_exposed, shown
from gli.report.tables import Table
from gli.system.files import atomic_write, write_json

if TYPE_CHECKING:
    from gli.audit.run_audit import RunAudit

HOW_TO_READ = (
    "An attacker has reference models that were retrained without the people, and guesses for each person whether the "
    "audited model ever saw them (RMIA). AUC is the probability that a forgotten person ranks above one who was never "
    "seen: 0.5 is guessing. Square brackets hold the 95 % confidence interval over people. The positive control is the "
    "same attack on the original, the negative control on the references themselves. Two snapshots: the attacker also "
    "has the original and sees whose outputs moved; compare with its control, a retrained model in place of the "
    "unlearned one. Memory: 1 as the original, 0 as retrained. Excess KLoM: 0 if unlearning equals retraining."
)


def write_run_audits(output: Path, data: str, audits: Sequence[RunAudit]) -> None:
    """Write the audits of runs into a folder.

    Args:
        output: The folder.
        data: Class name of the data module.
        audits: One for each run.
    """
    headings = [
        "method",
        "verdict",
        "AUC per person (RMIA)",
        "original",
        "retrained",
        "TPR at 5 % FPR",
        "memory",
        "excess KLoM, forgotten",
        "two snapshots",
        "its control",
        "test accuracy",
        "run",
    ]
    rows = [
        [
            audit.name,
            audit.verdict.answer,
            shown(audit.privacy.people),
            shown(audit.positive),
            shown(audit.negative),
            f"{audit.privacy.rate:.2f}",
            f"{audit.memory:.2f}",
            shown(audit.klom["forgotten"]),
            shown(audit.snapshots),
            shown(audit.snapshots_control),
            f"{audit.accuracy:.3f}",
            str(audit.run),
        ]
        for audit in audits
    ]
    exposed = {audit.name: most_exposed(audit) for audit in audits}
    with atomic_write(output / "audit.md") as temporary:
        text = audit_markdown(data, [HOW_TO_READ], audits, Table(headings, rows), exposed)
        temporary.write_text(text, encoding="utf-8")
    contents = [
        {
            "method": audit.name,
            "run": str(audit.run),
            "verdict": audit.verdict.answer,
            "sentence": audit.verdict.sentence,
            "auc_person": interval_values(audit.privacy.people),
            "auc_image": interval_values(audit.privacy.images),
            "tpr_at_5_percent": audit.privacy.rate,
            "auc_person_original": interval_values(audit.positive),
            "auc_person_references": interval_values(audit.negative),
            "detectable": audit.privacy.people.detectable,
            "memory": audit.memory,
            "excess_klom": {state: interval_values(value) for state, value in audit.klom.items()},
            "two_snapshots": interval_values(audit.snapshots),
            "two_snapshots_control": interval_values(audit.snapshots_control),
            "test_accuracy": audit.accuracy,
            "rmia_a": audit.a,
            "references": audit.references,
            "people": [{"name": person.name, "score": person.score} for person in audit.exposed],
        }
        for audit in audits
    ]
    write_json(output / "audit.json", {"data": data, "runs": contents})
