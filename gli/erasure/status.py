"""The state of every request, one line each, for people and for cron."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from gli.erasure.dates import days_left, parse_days, shown_days, today
from gli.erasure.ledger import Lines
from gli.erasure.requests import Request, read_requests
from gli.erasure.store import Store

#: Steps of a batch in their order, as kinds of ledger entries, and the state of a request after each.
STEPS = {"run": "run", "purge": "purged", "release": "released"}


@dataclass(frozen=True)
class State:
    """The state of one request.

    Attributes:
        request: Pseudonym.
        received: Day of receipt.
        due: Last day to answer.
        left: Days left; None once the case is closed.
        state: ``open``, ``planned``, ``run``, ``purged`` or ``released``.
        batch: Name of the batch; empty where there is none.
    """

    request: str
    received: str
    due: str
    left: int | None
    state: str
    batch: str

    @property
    def line(self) -> str:
        """One line of text; it names nobody."""
        when = "closed" if self.left is None else shown_days(self.left)
        return (
            f"{self.request}  received {self.received}  due {self.due}  {self.state:<8}  {when}  {self.batch}".rstrip()
        )


def step_of(lines: Lines, batch: str) -> str:
    """Return the state of a batch: ``planned``, ``run``, ``purged`` or ``released``."""
    done = [state for kind, state in STEPS.items() if lines.of_kind(kind, batch=batch)]
    return done[-1] if done else "planned"


def status(store: Store, now: datetime | None = None) -> list[State]:
    """Return the states of all requests that were ever received, those due first in front, closed ones last.

    Raises:
        DataError: If the ledger or the list of requests is damaged.
    """
    lines = store.ledger.read()
    open_requests: dict[str, Request] = {each.request: each for each in read_requests(store)}
    batch_of = {str(name): str(entry["batch"]) for entry in lines.of_kind("plan") for name in entry["requests"]}
    day = today(store.zone, now)
    states = []
    for entry in lines.of_kind("request"):
        name, due = str(entry["request"]), date.fromisoformat(str(entry["due"]))
        batch = batch_of.get(name, "")
        state = step_of(lines, batch) if batch else "open"
        left = None if state == "released" else days_left(due, day)
        states.append(State(name, str(entry["received"]), str(due), left, state, batch))
    # A kill between the list and the ledger: the request counts.
    known = {each.request for each in states}
    states += [
        State(name, str(each.received), str(each.due), days_left(each.due, day), "open", each.batch)
        for name, each in open_requests.items()
        if name not in known
    ]
    return sorted(states, key=lambda each: (each.left is None, each.due, each.request))


def due_within(states: list[State], duration: str) -> list[State]:
    """Return the open requests that are due within a duration such as ``7d``, or overdue.

    Raises:
        SettingError: If the duration is none.
    """
    days = parse_days(duration)
    return [state for state in states if state.left is not None and state.left <= days]
