"""``gli erase``: honour erasure requests, step by step."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from gli.commands import parse
from gli.commands.parse import Flag
from gli.errors import DataError, SettingError

HELP = """Honour erasure requests: from the first mail to the file to deploy and a certificate that verifies offline.

    gli erase init --weights classifier.pth --backbone resnet18 --table faces.csv --held-out held_out.csv
    gli erase init --cohorts 4 --backbone resnet18 ...    or train one from which people can be erased exactly
    gli erase add --subject anna --received 2026-11-03
    gli erase plan                  who, photographs, copies, due dates, route, cost
    gli erase rehearse --try lr=0.003,0.01    settings of the method, found on people who did not ask
    gli erase run                   exit status 0: pass or exact by construction, 3: cannot tell, 4: fail
    gli erase purge --dry-run       what would be removed; then without --dry-run
    gli erase release               weights, model card, certificate
    gli erase verify releases/batch-1/certificate.json --weights model.safetensors
    gli erase status --fail-if-due-in 7d
    gli erase amend --reason "..."  note settings that were changed

Every step can be killed and repeated. gli erase STEP --help shows the options of a step."""

#: Exit status of verify for a certificate that does not hold, and of status where a request is due.
NOT_VERIFIED, DUE = 4, 1
#: Exit status of purge where a trace is left, and of rehearse where no candidate keeps the accuracy.
LEFT, NONE_CHOSEN = 4, 4
STORE = Path("erasures")


def main(args: Sequence[str]) -> int:
    """Run ``gli erase``; return the exit status.

    Returns:
        0; 1 where a request is due (``status``); 2 after an error that the user can correct; of ``run`` 3 for *cannot
        tell* and 4 for *fail*; 4 of ``rehearse`` if no candidate keeps the accuracy, of ``verify`` for a certificate
        that does not hold, of ``purge`` if a trace is left.
    """
    purposes = {name: str(step.__doc__).partition("\n")[0].rstrip(".") for name, step in STEPS.items()}
    answered = parse.choose("gli erase", purposes, args, HELP)
    if answered is not None:
        return answered
    interrupted = "stopped. The same command continues."
    return parse.run(f"gli erase {args[0]}", showing_head(STEPS[args[0]]), args[1:], interrupted=interrupted)


def showing_head(step: Callable[..., int | None]) -> Callable[..., int | None]:
    """Return a step that prints the head of the ledger: whoever keeps this line notices a store that was set back."""

    @functools.wraps(step)
    def call(*positional: Path, **named: Any) -> int | None:
        status = step(*positional, **named)
        if "store" in named:
            from gli.system.ledger import open_ledger

            print(open_ledger(named["store"]).read().shown)
        return status

    return call


def init(
    *,
    backbone: str,
    table: Path,
    held_out: Path,
    weights: Path | None = None,
    cohorts: int = 0,
    root: Path | None = None,
    labels: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    file: str = "file",
    identity: str = "identity",
    image_size: int = 128,
    normalize: bool = False,
    logs: Path | None = None,
    erased: Sequence[Path] = (),
    policy: Path | None = None,
    allow_code: Annotated[Sequence[str], Flag(metavar="MODULE")] = (),
    store: Path = STORE,
) -> None:
    """Create a store for a classifier, and measure what an audit can show.

    Args:
        backbone: Its network, such as resnet18.
        table: CSV file of everybody whom it was trained on.
        held_out: CSV file of people whom it never saw.
        weights: The classifier: a checkpoint or a state dict.
        cohorts: Instead of weights: train a classifier that is planned for erasure, with so many cohorts, such as 4.
        root: Folder of the photographs (default: that of the table).
        labels: Label columns (default: all others).
        classes: Classes in the order of the outputs (default: sorted).
        file: Column with the file names.
        identity: Column with the people.
        image_size: Side of the images in pixels.
        normalize: The network normalises by ImageNet's statistics.
        logs: Folder of the runs that trained it, to be purged as well.
        erased: Other stores, whose people must not return.
        policy: YAML file with the policy: route, method, recipe, margins, ...
        allow_code: Modules that the settings of the store may import, such as my_network.
        store: Folder of the store.
    """
    from gli.erasure.store import Policy, Settings, check_code, create, read_policy
    from gli.system.console import loading
    from gli.system.files import read_csv, require_folder

    if (weights is None) == (not cohorts):
        raise SettingError("Give --weights FILE, or --cohorts 4 to train a classifier that is planned for erasure.")
    folder = root or table.parent
    require_folder(folder, "the folder that the table's file names are relative to", "Set --root.")
    header = read_csv(table, [file, identity])[0]
    declared = read_policy(policy) if policy else Policy()
    with loading():
        from gli.data.table import FaceTable
        from gli.data.tasks import MultiClass
        from gli.erasure.evidence import baseline, load_model
        from gli.erasure.run import teach_first
    names = None if classes is None else list(classes)
    columns = list(labels or (name for name in header if name not in (file, identity, "split")))
    task = FaceTable(
        str(folder), str(table.absolute()), file=file, identity=identity, labels=columns, classes=names
    ).faces.task
    settings = Settings(
        weights=str(weights or ""),
        weights_sha256="",
        backbone=backbone,
        root=str(folder),
        table=str(table),
        held_out=str(held_out),
        labels=columns,
        classes=list(task.names) if isinstance(task, MultiClass) else [],
        normalize=normalize,
        file=file,
        identity=identity,
        image_size=image_size,
        logs=str(logs or ""),
        erased=[str(path) for path in erased],
        policy=declared,
        cohorts=cohorts,
    )
    settings.check()
    check_code(settings, allow_code)
    if weights is not None:
        load_model(weights, settings)  # A store of a file that cannot be read would be in the way.
    created = create(store, settings, weights)
    with created.lock():
        if cohorts:
            print(teach_first(created))
        for sentence in baseline(created):
            print(sentence)
    print(f"store {store}. Keep its key ({store / 'key'}) secret; without it, nobody can be recognised.")


def add(
    *,
    subject: str | None = None,
    received: str | None = None,
    requests: Path | None = None,
    accept: Annotated[Sequence[str], Flag(metavar="FILE")] = (),
    keep: Annotated[Sequence[str], Flag(metavar="FILE")] = (),
    store: Path = STORE,
) -> None:
    """Add requests, and decide on copies of their photographs.

    Args:
        subject: Name of the person in the table.
        received: Day of receipt, such as 2026-11-03.
        requests: CSV file with the columns subject and received.
        accept: Copies to erase as well, by file, or by name for a possible double; all: all open.
        keep: Pictures that are no copies, and names that are somebody else's.
        store: Folder of the store.
    """
    from gli.erasure import requests as ledger
    from gli.erasure.store import Store

    opened = Store(store)
    with opened.lock():
        if accept:
            ledger.decide(opened, accept, "accept")
        if keep:
            ledger.decide(opened, keep, "keep")
        copies = ledger.read_copies(opened)
        if not (accept or keep):
            added = ledger.add(opened, ledger.wanted(requests, subject, received))
            for each in added:
                print(f"{each.request}  received {each.received}  due {each.due}  {each.note}".rstrip())
            names = {each.request for each in added}
            copies = [copy for copy in ledger.read_copies(opened) if copy.request in names]
        else:
            copies = [copy for copy in copies if copy.kind != ledger.IDENTICAL]  # Said when they were found.
        for sentence in ledger.copies_in_words(opened, copies):
            print(sentence)


def plan(
    *,
    batch: str | None = None,
    measure: bool = True,
    allow_code: Annotated[Sequence[str], Flag(metavar="MODULE")] = (),
    store: Path = STORE,
) -> None:
    """Show the next batch: who, photographs, copies, due dates, route, cost.

    Args:
        batch: Name of the batch (default: the first that waits for this step).
        measure: Do not measure the cost over a few steps.
        allow_code: Modules that the settings of the store may import, such as my_network.
        store: Folder of the store.
    """
    from gli.erasure import batches
    from gli.erasure.store import Store
    from gli.system.ledger import printable

    opened = Store(store, allow_code=allow_code)
    with opened.lock():
        planned = batches.plan(opened, batch, measure)
    print(f"{planned.batch}:")
    for request in planned.requests:
        count = planned.photographs.get(request.request)
        decisions = sorted(planned.copies[request.request].items())
        copies = ", ".join(f"{number} of {printable(name)} {decision}" for (name, decision), number in decisions)
        shown_copies = f" (copies: {copies})" if copies else ""
        undecided = any(decision == "undecided" for (_, decision), _ in decisions)
        waiting = "copies to decide first" if undecided else "counted when all copies of the batch are decided"
        photographs = waiting if count is None else f"{count} photographs"
        who = printable(request.subject)
        print(f"  {request.request}  {who}  {photographs}{shown_copies}  due {request.due}")
    for name, (_, earned) in batches.EARNED.items():
        if name in planned.minutes:
            audit, passes = (planned.minutes.get(f"{name}_{each}", 0.0) for each in ("with_audit", "passes"))
            print(f"  {name}: {planned.minutes[name]:.2f} minutes, {audit:.2f} with the reference models of the audit")
            print(f"    {passes:.1f} passes over the photographs; {earned}")
    print(f"  route: {planned.route}. {planned.reason}")


def rehearse(
    *,
    tries: Annotated[Sequence[str], Flag("--try", "SETTING=VALUE,VALUE", repeat=True)],
    methods: Annotated[Sequence[str] | None, Flag("--method")] = None,
    people: int | None = None,
    write: bool = False,
    allow_code: Annotated[Sequence[str], Flag(metavar="MODULE")] = (),
    store: Path = STORE,
) -> int:
    """Find the method's settings on people who did not ask.

    Args:
        tries: Values of a setting of the method, such as lr=0.003,0.01; several: all combinations.
        methods: Methods to try (default: the policy's).
        people: People who play forget (default: the largest batch, at least 10).
        write: Put the chosen method and settings into the policy.
        allow_code: Modules that the settings of the store may import, such as my_network.
        store: Folder of the store.
    """
    from gli.erasure.store import SETTINGS, Store
    from gli.system.console import loading
    from gli.system.ledger import counted

    opened = Store(store, allow_code=allow_code)
    with loading():
        from gli.erasure import rehearse as rehearsals
        from gli.erasure.evidence import detectable_auc
    with opened.lock():
        note = rehearsals.route_note(opened)
        if note:
            print(note)
        result = rehearsals.rehearse(opened, tries, methods, people)
        if write and result.chosen is not None:
            rehearsals.write_policy(opened, result)
    forgotten = len(result.begun["people"])
    print(
        f"{'As before: ' if result.repeated else ''}{counted(len(result.outcomes), 'candidate', 'candidates')} on "
        f"{forgotten} people of the table who did not ask; {len(result.begun['held_out'])} held-out people are in no "
        "verdict from now on."
    )
    for line in rehearsals.table_lines(result.outcomes):
        print(line)
    least = detectable_auc(forgotten, result.unseen)
    print(
        f"With {forgotten} people against {result.unseen} who were never seen, an AUC between {1 - least:.2f} and "
        f"{least:.2f} may be chance."
    )
    print(result.sentence)
    if result.chosen is None:
        return NONE_CHOSEN
    path = opened.folder / SETTINGS
    print(f"written to {path}" if write else "Nothing was written: the same command with --write does it.")
    return 0


def run(
    *,
    batch: str | None = None,
    route: Literal["cohorts", "drop", "retrain", "unlearn"] | None = None,
    allow_code: Annotated[Sequence[str], Flag(metavar="MODULE")] = (),
    store: Path = STORE,
) -> int:
    """Make the new model and audit it: exit status 0 pass or exact by construction, 3 cannot tell, 4 fail.

    Args:
        batch: Name of the batch (default: the first that waits for this step).
        route: Instead of the policy's route.
        allow_code: Modules that the settings of the store may import, such as my_network.
        store: Folder of the store.
    """
    from gli.erasure.store import Store
    from gli.system.console import loading

    opened = Store(store, allow_code=allow_code)
    with loading():
        from gli.erasure import run as runs
    with opened.lock():
        result = runs.run(opened, batch, route)
    print(f"{result.batch}: {result.answer} ({result.evidence['route']}{', as before' if result.repeated else ''})")
    for finding in result.evidence["findings"]:
        if finding["decides"]:
            print(f"  {finding['answer']:<21} {finding['name']}: {finding['sentence']}")
    for text in result.evidence["not_tested"]:
        print(f"  {'not tested':<21} {text}")
    if "found" in result.evidence["method"]:
        print(f"  {'settings':<21} {result.evidence['method']['found']}.")
    for text in result.evidence["limits"]:
        print(f"  {'limit':<21} {text}")
    return result.status


def purge(
    *,
    batch: str | None = None,
    accept_risk: Annotated[str | None, Flag(metavar="REASON")] = None,
    dry_run: bool = False,
    exception: Annotated[Sequence[str], Flag(metavar="TEXT", repeat=True)] = (),
    store: Path = STORE,
) -> int:
    """Remove everything on disk that descends from the people of a batch.

    Args:
        batch: Name of the batch (default: the first that waits for this step).
        accept_risk: Go on although the verdict is cannot tell or fail; is recorded.
        dry_run: List only.
        exception: A place that the purge does not reach, for the certificate: 'backup B expires 2027-01-15'.
        store: Folder of the store.
    """
    from gli.erasure.batch_purge import purge_batch
    from gli.erasure.store import Store

    opened = Store(store)
    with opened.lock():
        result = purge_batch(opened, batch, dry_run=dry_run, accepted_risk=accept_risk, exceptions=exception)
    return show_purge(result.files, result.exceptions, result.left, result.receipt)


def show_purge(files: list[dict[str, object]], exceptions: list[str], left: list[str], receipt: Path | None) -> int:
    """Print the result of a purge; return the exit status."""
    for file in files:
        print(f"{'' if receipt else 'would be '}{file['action']}  {file['path']}  ({file['reason']})")
    print(f"{len(files)} files{'' if receipt else '; nothing was changed'}.")
    for text in exceptions:
        print(f"look after: {text}")
    for text in left:
        print(f"gli: left: {text}", file=sys.stderr)
    if receipt:
        print(f"receipt {receipt}")
    return LEFT if left else 0


def release(
    *,
    batch: str | None = None,
    accept_risk: Annotated[str | None, Flag(metavar="REASON")] = None,
    formats: Sequence[str] = ("safetensors",),
    sign: Annotated[Path | None, Flag(metavar="KEY")] = None,
    key_until: Annotated[str | None, Flag(metavar="DAY")] = None,
    allow_code: Annotated[Sequence[str], Flag(metavar="MODULE")] = (),
    store: Path = STORE,
) -> None:
    """Write weights, model card and certificate.

    Args:
        batch: Name of the batch (default: the first that waits for this step).
        accept_risk: Go on although the verdict is cannot tell or fail; is recorded.
        formats: Formats among safetensors, onnx and torch.
        sign: PEM file of an Ed25519 private key.
        key_until: Day on which you will destroy the key of the store, for the certificate.
        allow_code: Modules that the settings of the store may import, such as my_network.
        store: Folder of the store.
    """
    from gli.erasure import certificate
    from gli.erasure.store import Store

    opened = Store(store, allow_code=allow_code)
    with opened.lock():
        result = certificate.release(
            opened, batch, formats=formats, accepted_risk=accept_risk, key=sign, key_until=key_until
        )
    for path in sorted(result.folder.iterdir()):
        print(path)


def verify(
    certificate: Path,
    *,
    weights: Path | None = None,
    ledger: Path | None = None,
    receipt: Path | None = None,
    public_key: Path | None = None,
    certificate_only: bool = False,
) -> int:
    """Check a certificate offline.

    Args:
        certificate: The file certificate.json.
        weights: The deployed file (default: the one beside the certificate).
        ledger: The file ledger.jsonl, or a whole store (default: the file beside the certificate).
        receipt: The file purge.json (default: the one beside the certificate).
        public_key: PEM file of the key that must have signed.
        certificate_only: Accept a release whose weights are not here.
    """
    from gli.erasure import certificate as certificates
    from gli.erasure.check import check_files
    from gli.erasure.store import Store

    key = certificates.in_digits(certificates.load_key(public_key, "public")) if public_key else None
    try:
        passed = certificates.verify(certificate, weights, ledger, receipt, key, certificate_only)
        if ledger is not None and ledger.is_dir():
            passed += check_files(Store(ledger))
    except DataError as error:
        print(f"gli erase verify: fails. {error}", file=sys.stderr)
        return NOT_VERIFIED
    for sentence in passed:
        print(sentence)
    print("verified")
    return 0


def amend(*, reason: str, store: Path = STORE) -> None:
    """Note changed settings in the ledger, or sign the ledger of an earlier version.

    Args:
        reason: Why; every later certificate shows it.
        store: Folder of the store.
    """
    from gli.erasure import requests
    from gli.erasure.store import Store

    opened = Store(store, amending=True)
    with opened.lock():
        print(requests.amend(opened, reason))


def status(*, fail_if_due_in: Annotated[str | None, Flag(metavar="DAYS")] = None, store: Path = STORE) -> int:
    """Print one line per request.

    Args:
        fail_if_due_in: Exit with 1 if a request is due in 7d, or overdue.
        store: Folder of the store.
    """
    from gli.erasure import requests
    from gli.erasure.check import check_batches
    from gli.erasure.store import Store

    opened = Store(store)
    check_batches(opened)
    states = requests.status(opened)
    for state in states:
        print(state.line)
    due = requests.due_within(states, fail_if_due_in) if fail_if_due_in is not None else []
    if due:
        print(f"gli erase status: {len(due)} due within {fail_if_due_in}.", file=sys.stderr)
    return DUE if due else 0


#: The steps by name.
STEPS: dict[str, Callable[..., int | None]] = {
    "init": init,
    "add": add,
    "plan": plan,
    "rehearse": rehearse,
    "run": run,
    "purge": purge,
    "release": release,
    "verify": verify,
    "amend": amend,
    "status": status,
}
