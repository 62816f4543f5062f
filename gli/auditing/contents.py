"""The result of an audit as nested plain values: the contents of ``audit.json``, from which all pages are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gli.auditing.fleet_audit import RETRAINED, MethodAudit
from gli.auditing.inside import Excess, InsideAudit
from gli.auditing.run_audit import RunAudit
from gli.auditing.verdict import Attack, Exposure, Verdict
from gli.metrics.intervals import Interval

#: Share of the people without any leak that the band of a picture holds.
SHARE = 0.95


def contents_of_methods(
    data: str, audits: Sequence[MethodAudit], costs: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an audit of methods.

    ``costs`` are training times as a share of retraining; ``facts`` hold for all methods, by name.
    """
    retrained = next(audit for audit in audits if audit.name == RETRAINED).exposed
    methods = [
        {
            **_attacked(audit.name, audit.verdict, audit.privacy, audit.exposed),
            "views": {view: _interval(each.people) for view, each in audit.views.items()},
            "auc_person_against_retraining": _interval(audit.efficacy.people),
            "views_against_retraining": {
                view: _interval(each.people) for view, each in audit.views_against_retraining.items()
            },
            "memory": _interval(audit.memory),
            "excess_klom": {state: _interval(value) for state, value in audit.klom.items()},
            "klom_histogram": {
                state: {"percentile_95": value, "floor_percentile_95": floor}
                for state, (value, floor) in audit.klom_histogram.items()
            },
            "auc_retained": _interval(audit.retained),
            "auc_retained_in_retrained": _interval(audit.retained_reference),
            "auc_by_memorisation": audit.strata,
            "test_accuracy": float(np.mean(audit.accuracy)),
            "test_accuracy_deviation": float(np.std(audit.accuracy, ddof=1)) if len(audit.accuracy) > 1 else None,
            "cost": costs.get(audit.name),
            "models": audit.models,
            "diverged": audit.diverged,
            "picture": picture_of_method(audit.exposed, retrained),
        }
        for audit in audits
    ]
    return {"data": data, **dict(facts), "methods": methods}


def contents_of_runs(data: str, audits: Sequence[RunAudit], facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return an audit of existing runs."""
    runs = []
    for run in audits:
        assert run.audit.attack is not None  # Runs that have diverged are refused.
        runs.append(
            {
                **_attacked(run.name, run.verdict, run.audit.attack, run.audit.exposed),
                "run": str(run.run),
                "views": {view: _interval(each.people) for view, each in run.audit.views.items()},
                "forward_passes": run.audit.passes,
                "auc_person_original": _interval(run.audit.positive),
                "auc_person_references": _interval(run.audit.negative),
                "iam": _interval(run.distances.iam),
                "iam_original": _interval(run.distances.iam_original),
                "memory": run.audit.memory,
                "excess_klom": {state: _interval(value) for state, value in run.distances.klom.items()},
                "two_snapshots": _interval(run.distances.snapshots),
                "two_snapshots_control": _interval(run.distances.snapshots_control),
                "inside": None if run.inside is None else _inside(run.inside),
                "test_accuracy": run.accuracy,
                "rmia_a": run.audit.a,
                "references": run.audit.references,
                "picture": picture_of_run(run.audit.exposed),
            }
        )
    return {"data": data, **dict(facts or {}), "runs": runs}


def _attacked(name: str, verdict: Verdict, privacy: Attack, exposed: Sequence[Exposure]) -> dict[str, Any]:
    """Return what both kinds of audit have: the verdict, the attack, and the people."""
    return {
        "method": name,
        "verdict": verdict.answer,
        "sentence": verdict.sentence,
        "attack": privacy.name,
        "auc_person": _interval(privacy.people),
        "auc_image": _interval(privacy.images),
        "tpr_at_5_percent": privacy.rate,
        "detectable": privacy.people.detectable,
        "people": [
            {"name": person.name, "auc": person.advantage, "score": person.score, "models": person.models}
            for person in exposed
        ],
    }


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {name: getattr(interval, name) for name in ("value", "low", "high", "error")}


def _inside(inside: InsideAudit) -> dict[str, Any]:
    return {
        "values": {name: _excess(value) for name, value in inside.values.items()},
        "residual": inside.residual,
        "excess_klom": {state: _interval(value) for state, value in inside.klom.items()},
        "neighbours": {of: _interval(value) for of, value in inside.neighbours.items()},
    }


def _excess(excess: Excess) -> dict[str, Any]:
    return {
        "model": excess.model,
        "references": excess.references,
        "difference": _interval(excess.difference),
        "original": _interval(excess.original),
    }


# -- pictures: the people of an audit in order, and the band in which they would lie if nobody were identified ---------


def picture_of_method(exposed: Sequence[Exposure], retrained: Sequence[Exposure]) -> dict[str, Any]:
    """Return each person's score when forgotten less that when never seen; the band holds those of retrained models."""
    low, high = np.quantile([person.score for person in retrained], [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return _picture([person.score for person in exposed], float(low), float(high))


def picture_of_run(exposed: Sequence[Exposure]) -> dict[str, Any]:
    """Return each forgotten person's rank among people who were never seen, from 0 to 1, which are the band."""
    return _picture([person.advantage for person in exposed], (1 - SHARE) / 2, (1 + SHARE) / 2)


def _picture(values: Sequence[float], low: float, high: float) -> dict[str, Any]:
    """Return the values of the forgotten people, the band, and how many lie outside: found, and by chance."""
    return {
        "values": sorted(values, reverse=True),
        "low": low,
        "high": high,
        "above": sum(value > high for value in values),
        "below": sum(value < low for value in values),
        "expected": (1 - SHARE) / 2 * len(values),
    }
