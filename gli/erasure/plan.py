"""The plan of a batch: who, how many photographs, copies, due dates, the route, and what it costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gli.erasure.batches import (
    WORK,
    choose,
    facts_of,
    group,
    prepare,
    read_batch,
    requests_of,
    sets_of,
    write_batch,
)
from gli.erasure.copies import read_copies
from gli.erasure.requests import Request
from gli.erasure.settings import Policy, Route
from gli.erasure.store import Store, note_departures


@dataclass(frozen=True)
class Plan:
    """The plan of a batch.

    Attributes:
        batch: Name of the batch.
        requests: Its requests.
        photographs: Number of photographs of each request, copies included; empty while copies are undecided.
        copies: Number of copies of each request, by decision.
        minutes: Minutes of ``retrain`` and ``unlearn``, each without and with its reference models; empty if not
            measured.
        route: The route that the policy takes.
        reason: Why, in a sentence.
    """

    batch: str
    requests: list[Request]
    photographs: dict[str, int]
    copies: dict[str, Counter[str]]
    minutes: dict[str, float]
    route: Route
    reason: str


def route_of(policy: Policy, minutes: dict[str, float], wanted: Route | None = None) -> tuple[Route, str]:
    """Return the route of a batch and the reason.

    Args:
        policy: The policy.
        minutes: Measured minutes; empty if they were not measured.
        wanted: Route that was asked for; None for the policy's.
    """
    chosen = wanted or policy.route
    if chosen != "auto":
        return chosen, f"{'You' if wanted else 'The policy'} chose to {chosen}."
    if not minutes:
        return "retrain", "Nothing was measured; retraining is exact."
    if minutes["retrain"] <= policy.retrain_minutes:
        return "retrain", (
            f"Retraining takes about {minutes['retrain']:.1f} minutes, which the policy allows "
            f"({policy.retrain_minutes:g}): it is exact, and simplest to defend."
        )
    return "unlearn", (
        f"Retraining takes about {minutes['retrain']:.0f} minutes; the policy allows {policy.retrain_minutes:g}."
    )


def plan(store: Store, name: str | None = None, measure: bool = True, now: datetime | None = None) -> Plan:
    """Plan the next batch; call with the store locked. Measured minutes are kept and not measured again.

    Args:
        store: The store.
        name: Name of a batch; None for the first one that has not run.
        measure: Measure the cost over a few steps.
        now: The present; None for the clock's.

    Raises:
        SettingError: If there is no such batch, or no open request.
        DataError: If an erased person has returned.
    """
    note_departures(store, now)
    group(store, now)
    name = choose(store, name, ("planned",))
    requests = requests_of(store, name)
    copies: dict[str, Counter[str]] = {each.request: Counter() for each in requests}
    for copy in read_copies(store):
        if copy.request in copies:
            copies[copy.request][copy.decision] += 1
    undecided = any(counter["undecided"] for counter in copies.values())
    photographs: dict[str, int] = {}
    contents = read_batch(store, name)
    minutes: dict[str, float] = {}
    if not undecided:
        sets = sets_of(store, name)
        photographs = {request: len(rows) for request, rows in sets.forget.items()}
        known = contents.get("minutes") if contents.get("photographs") == photographs else None
        minutes = known or (measured_minutes(store, prepare(store, store.batch(name) / WORK, sets)) if measure else {})
    route, reason = route_of(store.settings.policy, minutes)
    if not undecided:
        facts = facts_of(store, name, sets, minutes)
        if facts != contents:
            write_batch(store, name, facts)
    return Plan(name, requests, photographs, copies, minutes, route, reason)


def measured_minutes(store: Store, arguments: dict[str, Any]) -> dict[str, float]:
    """Return the minutes of each route, rounded to a hundredth, with and without its reference models.

    Args:
        store: The store.
        arguments: Settings of the batch's data.
    """
    from gli.erasure.cost import minutes, table_of
    from gli.erasure.methods import make_method
    from gli.erasure.models import RETRAINED, arguments_of

    settings, policy = store.settings, store.settings.policy
    shared: dict[str, Any] = {"backbone": settings.backbone, "normalize": settings.normalize}
    accelerator = {"accelerator": policy.trainer_settings.get("accelerator", "auto")}
    retrain = minutes(make_method(RETRAINED, shared), table_of(arguments), accelerator)
    own = make_method(policy.method, arguments_of(store, policy.declared))
    unlearn = minutes(own, table_of(arguments), policy.trainer_settings)
    audits = {"retrain": policy.retrain_references * retrain, "unlearn": policy.references * retrain}
    both = {"retrain": retrain, "unlearn": unlearn}
    return {
        **{name: round(value, 2) for name, value in both.items()},
        **{f"{name}_with_audit": round(value + audits[name], 2) for name, value in both.items()},
    }
