"""Honour erasure requests: from the first mail to the file to deploy and a certificate that verifies offline.

    gli erase init --weights classifier.pth --backbone resnet18 --table faces.csv --held-out held_out.csv
    gli erase add --subject anna --received 2026-11-03
    gli erase plan                  who, photographs, copies, due dates, route, cost
    gli erase rehearse --try lr=0.003,0.01    settings of the method, found on people who did not ask
    gli erase run                   exit status 0: pass, 3: cannot tell, 4: fail
    gli erase purge --dry-run       what would be removed; then without --dry-run
    gli erase release               weights, model card, certificate
    gli erase verify releases/batch-1/certificate.json --weights model.safetensors
    gli erase status --fail-if-due-in 7d

Every step can be killed and repeated. gli erase STEP --help shows the options of a step.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gli.commands.main import make_parser
from gli.commands.parse import run_command
from gli.errors import DataError

if TYPE_CHECKING:
    from gli.erasure.run import Result
    from gli.erasure.store import Policy, Settings, Store

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
    parser = make_parser("erase", __doc__)
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    for name, (purpose, add_options, _) in STEPS.items():
        step = steps.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        if name != "verify":
            step.add_argument("--store", type=Path, default=STORE, help=f"folder of the store (default: {STORE})")
        add_options(step)
    parser.epilog = _options_of_steps(steps.choices)
    options = parser.parse_args(args)
    work = STEPS[options.step][2]
    return run_command(f"gli erase {options.step}", lambda: work(options), "stopped. The same command continues.")


def _options_of_steps(steps: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the options of all steps, from the usage of each."""
    words = {name: re.findall(r"--[a-z][\w-]*", step.format_usage()) for name, step in steps.items()}
    lines = (f"  {name:<8} {' '.join(dict.fromkeys(options))}" for name, options in words.items())
    return "\n".join(["options of the steps:", *lines])


def _store(options: argparse.Namespace) -> Store:
    from gli.erasure.store import Store

    return Store(options.store)


def _add_batch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", help="name of the batch (default: the first that waits for this step)")


def _add_risk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accept-risk", metavar="REASON", help="go on although the verdict is not pass; is recorded")


# -- init --------------------------------------------------------------------------------------------------------------


def _init_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, required=True, help="the classifier: a checkpoint or a state dict")
    parser.add_argument("--backbone", required=True, help="its network, such as resnet18")
    parser.add_argument("--table", type=Path, required=True, help="CSV file of everybody whom it was trained on")
    parser.add_argument("--held-out", type=Path, required=True, help="CSV file of people whom it never saw")
    parser.add_argument("--root", type=Path, help="folder of the photographs (default: that of the table)")
    parser.add_argument("--labels", nargs="+", help="label columns (default: all others)")
    parser.add_argument("--classes", nargs="+", help="classes in the order of the outputs (default: sorted)")
    parser.add_argument("--file", default="file", help="column with the file names (default: file)")
    parser.add_argument("--identity", default="identity", help="column with the people (default: identity)")
    parser.add_argument("--image-size", type=int, default=128, help="side of the images in pixels (default: 128)")
    parser.add_argument("--normalize", action="store_true", help="the network normalises by ImageNet's statistics")
    parser.add_argument("--logs", type=Path, help="folder of the runs that trained it, to be purged as well")
    parser.add_argument("--erased", type=Path, nargs="+", default=[], help="other stores, whose people must not return")
    parser.add_argument("--policy", type=Path, help="YAML file with the policy: route, method, recipe, margins, ...")


def _init(options: argparse.Namespace) -> int:
    from gli.erasure.evidence import baseline, load_model
    from gli.erasure.store import Policy, create, read_policy

    policy: Policy = read_policy(options.policy) if options.policy else Policy()
    settings = _settings(options, policy)
    load_model(options.weights, settings)  # A store of a file that cannot be read would be in the way.
    store = create(options.store, settings, options.weights)
    with store.lock():
        for sentence in baseline(store):
            print(sentence)
    print(
        f"store {options.store}. Keep its key ({options.store / 'key'}) secret; without it, nobody can be recognised."
    )
    return 0


def _settings(options: argparse.Namespace, policy: Policy) -> Settings:
    from gli.data.table import FaceTable
    from gli.data.tasks import MultiClass
    from gli.erasure.store import Settings
    from gli.system.files import read_csv

    root = options.root or options.table.parent
    header = read_csv(options.table, [options.file, options.identity])[0]
    others = [name for name in header if name not in (options.file, options.identity, "split")]
    labels = options.labels or others
    task = FaceTable(
        str(root),
        str(options.table.absolute()),
        file=options.file,
        identity=options.identity,
        labels=labels,
        classes=options.classes,
    ).faces.task
    settings = Settings(
        weights=str(options.weights),
        weights_sha256="",
        backbone=options.backbone,
        root=str(root),
        table=str(options.table),
        held_out=str(options.held_out),
        labels=list(labels),
        classes=list(task.names) if isinstance(task, MultiClass) else [],
        normalize=options.normalize,
        file=options.file,
        identity=options.identity,
        image_size=options.image_size,
        logs=str(options.logs or ""),
        erased=[str(each) for each in options.erased],
        policy=policy,
    )
    settings.check()
    return settings


# -- add ---------------------------------------------------------------------------------------------------------------


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--subject", help="name of the person in the table")
    parser.add_argument("--received", help="day of receipt, such as 2026-11-03")
    parser.add_argument("--requests", type=Path, help="CSV file with the columns subject and received")
    parser.add_argument(
        "--accept", nargs="+", default=[], metavar="FILE", help="copies to erase as well; all: all open"
    )
    parser.add_argument("--keep", nargs="+", default=[], metavar="FILE", help="pictures that are no copies")


def _add(options: argparse.Namespace) -> int:
    from gli.erasure.ledger import counted
    from gli.erasure.requests import NEAR_HELD_OUT, add, copies_page, decide, read_copies, wanted

    store = _store(options)
    with store.lock():
        if options.accept or options.keep:
            if options.accept:
                decide(store, options.accept, "accept")
            if options.keep:
                decide(store, options.keep, "keep")
        else:
            for each in add(store, wanted(options.requests, options.subject, options.received)):
                print(f"{each.request}  received {each.received}  due {each.due}")
        copies = read_copies(store)
        open_requests = sorted({copy.request for copy in copies if copy.decision == "undecided"})
        held_out = len({copy.identity for copy in copies if (copy.kind, copy.decision) == (NEAR_HELD_OUT, "accept")})
        if held_out:
            people = counted(held_out, "held-out person", "held-out people")
            print(f"{people} left out of the comparison, because of a copy among their photographs.")
        identical = sum(copy.kind == "identical" for copy in copies)
        if identical:
            print(f"{counted(identical, 'identical file', 'identical files')} under other names, to be erased as well.")
        for request in open_requests:
            count = sum(copy.decision == "undecided" for copy in copies if copy.request == request)
            copies_shown = counted(count, "possible copy", "possible copies")
            print(f"{copies_shown} under other names to decide (--accept, --keep): {copies_page(store, request)}")
    return 0


# -- plan and run ------------------------------------------------------------------------------------------------------


def _plan_options(parser: argparse.ArgumentParser) -> None:
    _add_batch(parser)
    parser.add_argument("--no-measure", action="store_true", help="do not measure the cost over a few steps")


def _plan(options: argparse.Namespace) -> int:
    from gli.erasure.batches import plan
    from gli.erasure.ledger import printable

    store = _store(options)
    with store.lock():
        result = plan(store, options.batch, not options.no_measure)
    print(f"{result.batch}:")
    for each in result.requests:
        count = result.photographs.get(each.request)
        copies = ", ".join(f"{number} {decision}" for decision, number in sorted(result.copies[each.request].items()))
        shown_copies = f" (copies: {copies})" if copies else ""
        photographs = f"{count} photographs" if count is not None else "copies to decide first"
        who = printable(each.subject)
        print(f"  {each.request}  {who}  {photographs}{shown_copies}  due {each.due}")
    for name in ("retrain", "unlearn"):
        if name in result.minutes:
            audit = result.minutes[f"{name}_with_audit"]
            print(f"  {name}: {result.minutes[name]:.2f} minutes, {audit:.2f} with the reference models of the audit")
    print(f"  route: {result.route}. {result.reason}")
    return 0


def _rehearse_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--try",
        action="append",
        required=True,
        dest="tries",
        metavar="SETTING=VALUE,VALUE",
        help="values of a setting of the method, such as lr=0.003,0.01; several: all combinations",
    )
    parser.add_argument("--method", nargs="+", dest="methods", help="methods to try (default: the policy's)")
    parser.add_argument("--people", type=int, help="people who play forget (default: the largest batch, at least 10)")
    parser.add_argument("--write", action="store_true", help="put the chosen method and settings into the policy")


def _rehearse(options: argparse.Namespace) -> int:
    from gli.erasure.evidence import detectable_auc
    from gli.erasure.ledger import counted
    from gli.erasure.rehearse import rehearse, route_note, table_lines, write_policy
    from gli.erasure.store import SETTINGS

    store = _store(options)
    with store.lock():
        note = route_note(store)
        if note:
            print(note)
        result = rehearse(store, options.tries, options.methods, options.people)
        if options.write and result.chosen is not None:
            write_policy(store, result)
    people = len(result.begun["people"])
    print(
        f"{'As before: ' if result.repeated else ''}{counted(len(result.outcomes), 'candidate', 'candidates')} on "
        f"{people} people of the table who did not ask; {len(result.begun['held_out'])} held-out people are in no "
        "verdict from now on."
    )
    for line in table_lines(result.outcomes):
        print(line)
    least = detectable_auc(people, result.unseen)
    print(
        f"With {people} people against {result.unseen} who were never seen, an AUC between {1 - least:.2f} and "
        f"{least:.2f} may be chance."
    )
    print(result.sentence)
    if result.chosen is None:
        return NONE_CHOSEN
    path = store.folder / SETTINGS
    print(f"written to {path}" if options.write else "Nothing was written: the same command with --write does it.")
    return 0


def _run_options(parser: argparse.ArgumentParser) -> None:
    _add_batch(parser)
    parser.add_argument("--route", choices=["retrain", "unlearn"], help="instead of the policy's route")


def _run(options: argparse.Namespace) -> int:
    from gli.erasure.run import run

    store = _store(options)
    with store.lock():
        result: Result = run(store, options.batch, options.route)
    print(f"{result.batch}: {result.answer} ({result.evidence['route']}{', as before' if result.repeated else ''})")
    for each in result.evidence["findings"]:
        if each["decides"]:
            print(f"  {each['answer']:<12} {each['name']}: {each['sentence']}")
    for text in result.evidence["not_tested"]:
        print(f"  {'not tested':<12} {text}")
    if "found" in result.evidence["method"]:
        print(f"  {'settings':<12} {result.evidence['method']['found']}.")
    for text in result.evidence["limits"]:
        print(f"  {'limit':<12} {text}")
    return result.status


# -- purge, release ----------------------------------------------------------------------------------------------------


def _purge_options(parser: argparse.ArgumentParser) -> None:
    _add_batch(parser)
    _add_risk(parser)
    parser.add_argument("--dry-run", action="store_true", help="list only")
    parser.add_argument(
        "--exception",
        action="append",
        default=[],
        metavar="TEXT",
        help="a place that the purge does not reach, for the certificate: 'backup B expires 2027-01-15'",
    )


def _purge(options: argparse.Namespace) -> int:
    from gli.erasure.batch_purge import purge_batch

    store = _store(options)
    with store.lock():
        result = purge_batch(
            store,
            options.batch,
            dry_run=options.dry_run,
            accepted_risk=options.accept_risk,
            exceptions=options.exception,
        )
    return show_purge(result.files, result.exceptions, result.left, result.receipt)


def show_purge(files: list[dict[str, object]], exceptions: list[str], left: list[str], receipt: Path | None) -> int:
    """Print the result of a purge; return the exit status."""
    for each in files:
        print(f"{'' if receipt else 'would be '}{each['action']}  {each['path']}  ({each['reason']})")
    print(f"{len(files)} files{'' if receipt else '; nothing was changed'}.")
    for text in exceptions:
        print(f"look after: {text}")
    for text in left:
        print(f"gli: left: {text}", file=sys.stderr)
    if receipt:
        print(f"receipt {receipt}")
    return LEFT if left else 0


def _release_options(parser: argparse.ArgumentParser) -> None:
    _add_batch(parser)
    _add_risk(parser)
    parser.add_argument("--formats", nargs="+", default=["safetensors"], help="safetensors, onnx, torch")
    parser.add_argument("--sign", type=Path, metavar="KEY", help="PEM file of an Ed25519 private key")


def _release(options: argparse.Namespace) -> int:
    from gli.erasure.certificate import release

    store = _store(options)
    with store.lock():
        result = release(
            store, options.batch, formats=options.formats, accepted_risk=options.accept_risk, key=options.sign
        )
    for path in sorted(result.folder.iterdir()):
        print(path)
    return 0


# -- verify, status ----------------------------------------------------------------------------------------------------


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("certificate", type=Path, help="certificate.json")
    parser.add_argument("--weights", type=Path, help="the deployed file (default: the one beside the certificate)")
    parser.add_argument("--ledger", type=Path, help="ledger.jsonl (default: the one beside the certificate)")
    parser.add_argument("--receipt", type=Path, help="purge.json (default: the one beside the certificate)")
    parser.add_argument("--public-key", type=Path, help="PEM file of the key that must have signed")


def _verify(options: argparse.Namespace) -> int:
    from gli.erasure.certificate import load_public_key, verify

    key = load_public_key(options.public_key) if options.public_key else None
    try:
        passed = verify(options.certificate, options.weights, options.ledger, options.receipt, key)
    except DataError as error:
        print(f"gli erase verify: fails. {error}", file=sys.stderr)
        return NOT_VERIFIED
    for sentence in passed:
        print(sentence)
    print("verified")
    return 0


def _status_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fail-if-due-in", metavar="DAYS", help="exit with 1 if a request is due in 7d, or overdue")


def _status(options: argparse.Namespace) -> int:
    from gli.erasure.requests import due_within, status

    states = status(_store(options))
    for state in states:
        print(state.line)
    if options.fail_if_due_in is None:
        return 0
    due = due_within(states, options.fail_if_due_in)
    if due:
        print(f"gli erase status: {len(due)} due within {options.fail_if_due_in}.", file=sys.stderr)
    return DUE if due else 0


Options = Callable[[argparse.ArgumentParser], None]
#: Steps by name: purpose, options, and the function that does it.
STEPS: dict[str, tuple[str, Options, Callable[[argparse.Namespace], int]]] = {
    "init": ("create a store for a classifier, and measure what an audit can show", _init_options, _init),
    "add": ("add requests, and decide on copies of their photographs", _add_options, _add),
    "plan": ("show the next batch: who, photographs, copies, due dates, route, cost", _plan_options, _plan),
    "rehearse": ("find the method's settings on people who did not ask", _rehearse_options, _rehearse),
    "run": ("make the new model and audit it: exit status 0 pass, 3 cannot tell, 4 fail", _run_options, _run),
    "purge": ("remove everything on disk that descends from the people of a batch", _purge_options, _purge),
    "release": ("write weights, model card and certificate", _release_options, _release),
    "verify": ("check a certificate offline", _verify_options, _verify),
    "status": ("one line per request", _status_options, _status),
}
