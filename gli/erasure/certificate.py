"""The certificate: canonical JSON that names nobody, with a digest of its own and an optional signature.

A certificate says what was done, what was tested, what was found, and what could not be tested. It is no proof of
deletion. Releasing a batch writes it, verifying reads it.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import gli
from gli.erasure.batch_purge import check_texts, check_verdict, read_receipt
from gli.erasure.batches import (
    CANNOT_TELL,
    EXACT_ROUTES,
    FAIL,
    PASS,
    choose,
    new_weights,
    read_batch,
    read_evidence,
)
from gli.erasure.cohorts import BY_COHORTS, NETWORK, SERVED, erased_among
from gli.erasure.purge import RECEIPT, WEIGHTS
from gli.erasure.requests import amendments, parse_received, step_of, today
from gli.erasure.store import Store, check_noted
from gli.errors import DataError, SettingError
from gli.reporting.page import environment, render
from gli.system.console import loading
from gli.system.ledger import (
    AMEND,
    KEY_FILE,
    LEDGER,
    Entry,
    Lines,
    canonical,
    counted,
    durable_copy,
    durable_write,
    erased_in,
    holds_own_hash,
    open_ledger,
    parse_lines,
    read_bytes,
    read_canonical,
    sha256,
    sha256_file,
    timestamp,
)

# -- the certificate ---------------------------------------------------------------------------------------------------

#: Forms of certificates, that of new ones last, with the fields that each has added. Earlier ones still verify.
SCHEMAS: Mapping[str, tuple[str, ...]] = {
    "gli-erasure-certificate/1": (),
    "gli-erasure-certificate/2": ("attack",),
    "gli-erasure-certificate/3": ("amended", "claim", "lineage", "backups", "key_until"),
}
SCHEMA = list(SCHEMAS)[-1]
CERTIFICATE, SIGNATURE, PAGE = "certificate.json", "certificate.sig", "certificate.html"
ALGORITHM = "Ed25519"
#: Fields of a certificate and the type of each.
FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "schema": str,
    "batch": str,
    "created": str,
    "requests": list,
    "route": str,
    "weights": dict,
    "files": dict,
    "manifest": dict,
    "method": dict,
    "versions": dict,
    "hardware": str,
    "verdict": dict,
    "attack": str,
    "amended": list,
    "claim": dict,
    "lineage": list,
    "backups": list,
    "key_until": (str, type(None)),
    "findings": list,
    "not_tested": list,
    "limits": list,
    "accepted_risk": (str, type(None)),
    "purge": dict,
    "previous": str,
    "signed_by": (str, type(None)),
    "digest": str,
}
#: Sentences that every certificate has.
LIMITS = (
    "This is a record of what was done and tested, not a proof of deletion.",
    "The audit bounds what the attacks in it find with these people and models; another attack may find more.",
    "Copies of the classifier and of the photographs outside the store and the log folder were not looked at.",
    "After the purge, a photograph that returns is recognised by its name or its bytes, not by its looks.",
)
#: Attackers whom no test of a certificate assumes.
NOT_ASSUMED = (
    "Not tested: an attacker who has the classifier before as well, looks into the weights, shows the photographs in "
    "views other than those of the attack, or trains the classifier further."
)
#: Day of the list of attacks that this version of gli can run.
ATTACKS_KNOWN_ON = "2026-11-30"
#: AUC of an attacker who guesses.
CHANCE = 0.5
#: Classes of claims, and what each says.
CLAIMS = {
    "exact": "The classifier was trained from scratch without these photographs, as its lineage says.",
    "exact by design": "The classifier was made from photographs of other people only: each network that taught it was "
    "trained from scratch without these photographs, as its lineage says.",
    "tested": "The attack would have shown a trace above the margin, and has shown none.",
    "no evidence found": "The attack has shown no trace beyond chance, but could have missed one.",
    "cannot tell": "The attack has an AUC of {auc:.2f} (0.50 without a trace), but too few people to tell a trace from "
    "chance.",
    "evidence found": "The attack has shown a trace.",
}
#: How files came about, by the route or the kind of line in the ledger; others were given.
HOW = {
    "retrain": "retrained from scratch",
    "unlearn": "unlearned",
    NETWORK: "network of a cohort, trained from scratch",
    **dict.fromkeys((SERVED, *BY_COHORTS), "taught by networks of cohorts that never saw the person"),
}
REPEAT = (
    "Whoever has the photographs of the requests, the two tables, both classifiers, store.yaml and gli can repeat the "
    "run and compare the hashes; the certificate alone shows that its files belong together."
)


def sealed(contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return a certificate with its digest.

    Raises:
        ValueError: If a field is missing, unknown, or of another type.
    """
    body = {name: value for name, value in contents.items() if name != "digest"}
    certificate = {**body, "digest": sha256(canonical(body))}
    problem = problem_of(certificate)
    if problem:
        raise ValueError(problem)
    return certificate


def problem_of(certificate: Mapping[str, Any]) -> str:
    """Return what is wrong with the form of a certificate; an empty string if nothing is."""
    schema = certificate.get("schema")
    if not isinstance(schema, str) or schema not in SCHEMAS:
        return f"it is not of the form {SCHEMA}"
    later = {name for form in list(SCHEMAS)[list(SCHEMAS).index(schema) + 1 :] for name in SCHEMAS[form]}
    fields = {name: kind for name, kind in FIELDS.items() if name not in later}
    for name in fields.keys() ^ certificate.keys():
        return f"the field {str(name)[:40]!r} is {'missing' if name in fields else 'unknown'}"
    for name, kind in fields.items():
        if not isinstance(certificate[name], kind):
            return f"the field {name!r} has another type"
    for name, digest in certificate["files"].items():
        if not isinstance(digest, str) or Path(name).name != name or name in (".", ".."):
            return "a file is not a name beside the certificate with its SHA-256"
    if not all(isinstance(certificate["weights"].get(end), str) for end in ("before", "after")):
        return "the hashes of the weights are missing"
    return ""


def read_certificate(path: Path) -> tuple[dict[str, Any], str]:
    """Return a certificate and the SHA-256 of its file.

    Raises:
        DataError: If it cannot be read, or was changed.
    """
    certificate, digest = read_canonical(path, "a certificate")
    problem = problem_of(certificate)
    if problem:
        raise DataError(f"{path}: is not a certificate of gli: {problem}.")
    if not holds_own_hash(certificate, "digest", path.read_bytes()[:-1]):
        raise DataError(f"{path}: was changed: its digest is not that of its contents.")
    return certificate, digest


# -- signatures --------------------------------------------------------------------------------------------------------
def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SettingError(
            "Signatures need the package cryptography: pip install '.[sign]' in gli's sources."
        ) from error
    return serialization, ed25519


def load_key(path: Path, kind: Literal["private", "public"]) -> Any:
    """Return the Ed25519 key in a PEM file without a password.

    Raises:
        SettingError: If cryptography is not installed, or the file holds another key.
        DataError: If the file cannot be read.
    """
    serialization, ed25519 = _ed25519()
    data, password = read_bytes(path, f"a {kind} key"), {"password": None} if kind == "private" else {}
    try:
        key = getattr(serialization, f"load_pem_{kind}_key")(data, **password)
    except (ValueError, TypeError) as error:
        raise SettingError(f"{path}: is not a {kind} key in PEM format without a password.") from error
    if not isinstance(key, getattr(ed25519, f"Ed25519{kind.title()}Key")):
        raise SettingError(
            f"{path}: is not an Ed25519 key. Create one: openssl genpkey -algorithm ed25519 -out key.pem"
        )
    return key


def in_digits(public_key: Any) -> str:
    """Return a public key in hexadecimal digits."""
    return str(public_key.public_bytes_raw().hex())


def sign(key: Any, data: bytes) -> bytes:
    """Return the text of a signature file: the signature in hexadecimal digits, and a newline."""
    return bytes(key.sign(data)).hex().encode() + b"\n"


def check_signature(path: Path, data: bytes, public_key: str) -> None:
    """Check a signature.

    Args:
        path: The signature file.
        data: Bytes of the certificate's file.
        public_key: Public key in hexadecimal digits.

    Raises:
        DataError: If the signature is missing, changed, or of another key.
    """
    _, ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    text = read_bytes(path, "a signature")
    try:
        signature = bytes.fromhex(text.decode("ascii").removesuffix("\n"))
        if text != signature.hex().encode() + b"\n":
            raise ValueError("another form")
        ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, data)
    except (ValueError, InvalidSignature) as error:
        raise DataError(f"{path}: is not the signature of this certificate by the key {public_key[:16]}.") from error


# -- pages -------------------------------------------------------------------------------------------------------------


def certificate_page(certificate: Mapping[str, Any]) -> str:
    """Return the certificate as an HTML page that needs no other file."""
    names = {
        "Weights (SHA-256)": "weights",
        "Files of the release (SHA-256)": "files",
        "Training images": "manifest",
        "Method": "method",
        "Versions": "versions",
    }
    sections = {heading: dict(certificate[name]) for heading, name in names.items()}
    sections["Hardware"] = {"hardware": certificate["hardware"]}
    return render("certificate.html.j2", c=certificate, sections=sections)


def model_card(contents: Mapping[str, Any], outputs: list[str]) -> str:
    """Return the model card of a release as Markdown.

    Args:
        contents: The fields of the certificate that are known before it is sealed.
        outputs: Names of the classifier's outputs.
    """
    return environment(autoescape=False).get_template("model_card.md.j2").render(c=contents, outputs=outputs)


# -- what is claimed ---------------------------------------------------------------------------------------------------


def claim_of(evidence: Mapping[str, Any], signed_by: str | None) -> dict[str, Any]:
    """Return what a certificate claims, against whom, who vouches for it, and as of which attacks.

    Args:
        evidence: The evidence of the batch.
        signed_by: Public key that signs; None for no signature.
    """
    memory = [each for each in evidence["findings"] if not each["name"].startswith("utility")]
    answers = {each["answer"] for each in memory}
    # The largest of several people's values lies far from 0.5 by itself: only findings with a margin show a gap.
    gaps = [each["value"] for each in memory if each["answer"] == CANNOT_TELL and _has_gap(each)]
    auc = max(gaps, key=lambda value: abs(value - CHANCE), default=CHANCE)
    if FAIL in answers:
        name = "evidence found"
    elif evidence["route"] in EXACT_ROUTES:
        name = "exact"
    else:
        name = "tested" if answers == {PASS} else "cannot tell" if gaps else "no evidence found"
    count = int(evidence["method"].get("references", 0))
    references = counted(count, "reference model", "reference models") if count else "no reference models"
    by_design = name == "exact" and evidence["route"] in BY_COHORTS
    return {
        "class": name,
        "says": CLAIMS["exact by design" if by_design else name].format(auc=auc),
        "adversary": "Somebody who shows the photographs to the new classifier, sees its outputs, and has "
        f"{references} that never saw them. Attack: {evidence['attack']}.",
        "vouched_for": "self-attested: not signed" if signed_by is None else f"signed by the Ed25519 key {signed_by}",
        "repeat": REPEAT,
        "attacks_known_on": ATTACKS_KNOWN_ON,
    }


def _has_gap(finding: Mapping[str, Any]) -> bool:
    """Return whether an AUC lies beyond its margin, or 0.5 outside its interval."""
    value, low, high, margin = (finding.get(name) for name in ("value", "low", "high", "margin"))
    if value is None or margin is None:
        return False
    return bool(abs(value - CHANCE) > margin or (low or 0.0) > CHANCE or (1.0 if high is None else high) < CHANCE)


def lineage_of(entries: Sequence[Entry], weights: str) -> list[dict[str, Any]]:
    """Return how some weights came about, the oldest file in front: all files from which they descend.

    Each file has its SHA-256, how it was made, from which file or files (None where it was given or made from scratch),
    hash and number of its training images, and the requests that were erased by then.

    Args:
        entries: Lines of the ledger.
        weights: SHA-256 of the weights.
    """
    made: dict[str, dict[str, Any]] = {}
    after: dict[str, dict[str, Any]] = {}
    erased: set[str] = set()
    for entry in entries:
        if entry["kind"] == "erased":
            erased.add(entry["request"])
            after.get(entry["batch"], {})["erased"] = sorted(erased)
        elif entry["kind"] in ("init", "run", NETWORK, SERVED):
            route, run = entry.get("route", entry["kind"]), entry["kind"] == "run"
            file = {
                "weights": entry["weights_after" if run else "weights"],
                "how": HOW.get(str(route), "given"),
                "from": entry.get("weights_before") if route == "unlearn" else entry.get("from"),
                "manifest": entry.get("manifest"),
                "images": entry.get("images"),
                "erased": sorted(erased) if entry["kind"] == NETWORK else [],
            }
            made[file["weights"]] = file
            if run:
                after[entry["batch"]] = file
    chain: list[dict[str, Any]] = []
    waiting = [weights]
    while waiting:
        name = waiting.pop(0)
        if name in made:
            chain.insert(0, made.pop(name))
            waiting += parents_of(chain[0])
    return chain


def parents_of(file: Mapping[str, Any]) -> list[str]:
    """Return the SHA-256 of the files from which a file of a lineage was made."""
    parents = file["from"] or []
    return [parents] if isinstance(parents, str) else list(parents)


def check_lineage(lines: Lines, weights: str, route: str) -> str:
    """Walk the lineage of weights to its roots, if they are claimed to be exact, and return what was found.

    Args:
        lines: The ledger up to the release.
        weights: SHA-256 of the weights.
        route: The route by which they were made.

    Raises:
        DataError: If a file has no lineage, or was trained on somebody who was erased.
    """
    if route not in EXACT_ROUTES:
        return ""
    chain = lineage_of(lines.entries, weights)
    unknown = {*(each for file in chain for each in parents_of(file)), weights} - {file["weights"] for file in chain}
    if unknown or any(file["how"] in ("given", HOW["unlearn"]) for file in chain):
        raise DataError(f"The weights {weights[:16]} have no lineage down to files trained from scratch: not exact.")
    people = {entry["weights"]: entry["people"] for entry in lines.of_kind(NETWORK)}
    erased = erased_in(lines)
    for file in chain:
        request = erased_among(erased, people.get(file["weights"], ()))
        if request is not None:
            raise DataError(
                f"The weights {weights[:16]} descend from {file['weights'][:16]}, which was trained on the person of "
                f"request {request}: not exact."
            )
    roots = sum(not parents_of(file) for file in chain)
    return f"The weights descend from {counted(roots, 'file', 'files')} trained from scratch, on nobody who was erased."


def earlier_exceptions(store: Store, lines: Lines, name: str, now: datetime | None) -> list[str]:
    """Return what purges before that of a batch did not reach and has not expired: it holds these people as well."""
    texts: dict[str, None] = {}
    for batch in (each["batch"] for each in lines.of_kind("purge") if each["batch"] != name):
        texts |= dict.fromkeys(read_receipt(store, batch)["exceptions"])
    check_texts(store, name, list(texts))
    day = str(today(store.zone, now))
    return [text for text in texts if any(each["expires"] >= day for each in backups_in([text]))]


def backups_in(exceptions: Sequence[str]) -> list[dict[str, str]]:
    """Return the places that a purge does not reach and that expire on a day, which their sentence names."""
    days = {text: re.findall(r"\b\d{4}-\d{2}-\d{2}\b", text) for text in dict.fromkeys(exceptions)}
    return [{"what": text, "expires": max(found)} for text, found in days.items() if found]


# -- the release -------------------------------------------------------------------------------------------------------

CARD = "MODEL_CARD.md"
FORMATS = ("safetensors", "onnx", "torch")
#: Packages whose versions a certificate has.
PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy")


@dataclass(frozen=True)
class Release:
    """A release."""

    folder: Path  # Folder with its files.
    certificate: dict[str, Any]  # The certificate.
    repeated: bool = False  # Whether it was there already.


def release(
    store: Store,
    name: str | None = None,
    *,
    formats: Sequence[str] = ("safetensors",),
    accepted_risk: str | None = None,
    key: Path | None = None,
    key_until: str | None = None,
    now: datetime | None = None,
) -> Release:
    """Release a batch that has run and is purged, or return the release that it has; call with the store locked.

    Args:
        store: The store.
        name: Name of the batch; None for the first one that is purged.
        formats: Formats of the weights.
        accepted_risk: Reason for releasing although the verdict is not ``pass``; None for that of the purge.
        key: PEM file of an Ed25519 private key that signs the certificate; None for no signature.
        key_until: Day on which the key of the store will be destroyed; None where that is not decided.
        now: The present; None for the clock's.

    Raises:
        SettingError: If the batch has not run and been purged, or its verdict is not ``pass``.
        DataError: If a file of the batch was changed.
    """
    for each in formats:
        if each not in FORMATS:
            raise SettingError(f"--formats {each}: there is no such format. Formats: {', '.join(FORMATS)}.")
    name = choose(store, name, ("purged", "released"))
    lines = store.ledger.read()
    state, folder = step_of(lines, name), store.release(name)
    if state == "released":
        certificate, digest = read_certificate(folder / CERTIFICATE)
        check_noted(folder / CERTIFICATE, digest, lines.last("release", batch=name).get("certificate"))
        _copy_ledger(store, name)
        return Release(folder, certificate, True)
    if state != "purged":
        raise SettingError(f"{name} is {state}. Run it and purge it first: gli erase run, then gli erase purge.")
    receipt = read_receipt(store, name)
    accepted_risk = accepted_risk or receipt["accepted_risk"]
    check_verdict(store, name, accepted_risk)
    check_texts(store, name, [accepted_risk or "", *receipt["exceptions"]])
    evidence = read_evidence(store, name)
    until = None if key_until is None else str(parse_received(key_until, store.zone))
    signing = load_key(key, "private") if key is not None else None
    signed_by = in_digits(signing.public_key()) if signing is not None else None
    contents = _contents(store, name, evidence, receipt, accepted_risk)
    check_lineage(lines, evidence["weights"]["after"], evidence["route"])
    contents |= {
        "claim": claim_of(evidence, signed_by),
        "lineage": lineage_of(lines.entries, evidence["weights"]["after"]),
        "backups": backups_in([*receipt["exceptions"], *earlier_exceptions(store, lines, name, now)]),
        "key_until": until,
    }
    outputs = list(store.settings.classes or store.settings.labels)
    files = _weights(store, name, folder, formats)
    durable_copy(store.batch(name) / RECEIPT, folder / RECEIPT)
    durable_write(folder / CARD, model_card(contents, outputs).encode())
    contents |= {
        "files": {path.name: sha256_file(path) for path in [*files, folder / RECEIPT, folder / CARD]},
        "created": timestamp(now),
        "previous": lines.last_hash,
        "signed_by": signed_by,
    }
    certificate = sealed(contents)
    data = canonical(certificate) + b"\n"
    page = certificate_page(certificate).encode()
    durable_write(folder / PAGE, page)
    durable_write(folder / CERTIFICATE, data)
    if signing is not None:
        durable_write(folder / SIGNATURE, sign(signing, data))
    fields = {"batch": name, "certificate": sha256(data), "pages": {PAGE: sha256(page)}, "files": contents["files"]}
    store.ledger.append("release", fields, now)
    _copy_ledger(store, name)
    return Release(folder, certificate)


def _copy_ledger(store: Store, name: str) -> None:
    """Put the ledger up to the release of a batch beside its certificate, so that it can be verified elsewhere."""
    entries = store.ledger.read().entries
    last = max(number for number, each in enumerate(entries) if each["kind"] == "release" and each["batch"] == name)
    data = b"".join(store.ledger.path.read_bytes().splitlines(keepends=True)[: last + 1])
    path = store.release(name) / LEDGER
    if not path.exists() or path.read_bytes() != data:
        durable_write(path, data)


def _contents(
    store: Store, name: str, evidence: dict[str, Any], receipt: dict[str, Any], accepted_risk: str | None
) -> dict[str, Any]:
    """Return the fields of a certificate that do not depend on the files of the release."""
    batch = read_batch(store, name)
    decided = [finding for finding in evidence["findings"] if finding["decides"] and finding["answer"] != "pass"]
    return {
        "schema": SCHEMA,
        "batch": name,
        "requests": [
            {
                "request": request,
                **dates,
                "photographs": batch["photographs"][request],
                "tested": evidence["people"].get(request, "not stated"),
            }
            for request, dates in sorted(batch["requests"].items())
        ],
        "route": evidence["route"],
        "weights": evidence["weights"],
        "manifest": evidence["manifest"],
        "method": evidence["method"],
        "versions": {"gli": gli.__version__, "python": platform.python_version(), **_versions()},
        "hardware": f"{platform.machine()}, {platform.system()}",
        "verdict": {
            "answer": evidence["answer"],
            "because": [f"{each['name']}: {each['sentence']}" for each in decided],
        },
        "attack": evidence["attack"],
        "amended": amendments(store.ledger.read().of_kind(AMEND)),
        "findings": evidence["findings"],
        "not_tested": [*evidence["not_tested"], NOT_ASSUMED],
        "limits": [*LIMITS, *evidence["limits"]],
        "accepted_risk": accepted_risk,
        "purge": {"files": len(receipt["files"]), "exceptions": receipt["exceptions"], "limits": receipt["limits"]},
    }


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _weights(store: Store, name: str, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the weights in some formats, checked against the model of the batch."""
    with loading():
        from gli.models.export import export
    settings = store.settings
    description = {
        "backbone": settings.backbone,
        "outputs": list(settings.classes or settings.labels),
        "normalize": settings.normalize,
    }
    model = new_weights(store, name)
    return export(model, folder, formats, name="model", description=description, image_size=settings.image_size)


# -- verification ------------------------------------------------------------------------------------------------------


def _ledger_lines(path: Path) -> tuple[Lines, str]:
    """Return the lines of a ledger, and what was checked: all of it in a store, without its key the chain only.

    Raises:
        DataError: If it does not hold.
    """
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or (folder / KEY_FILE).exists():
        lines = open_ledger(folder, unsigned=True).read(unsigned=True)
        signed = lines.unsigned < len(lines.entries)
        return lines, f"is an unbroken chain {'under the key of its store' if signed else 'without MACs'}"
    lines = parse_lines(read_bytes(path, "a ledger"), str(path))
    if lines.torn:
        raise DataError(f"{path}: its last line is incomplete.")
    return lines, "is an unbroken chain; without the key of its store, nobody can tell who wrote it"


def verify(
    certificate: Path,
    weights: Path | None = None,
    ledger: Path | None = None,
    receipt: Path | None = None,
    public_key: str | None = None,
    certificate_only: bool = False,
) -> list[str]:
    """Check a certificate against everything that it speaks of.

    Args:
        certificate: ``certificate.json``.
        weights: The deployed file; None for the weights beside the certificate.
        ledger: ``ledger.jsonl``, or the folder of a store; None for the copy beside the certificate.
        receipt: ``purge.json``; None for the copy beside the certificate.
        public_key: Public key, in hexadecimal digits, that must have signed; None for the one that the certificate
            names, if any.
        certificate_only: Accept a release without weights.

    Returns:
        One sentence per check that was passed, and per file that was not seen.

    Raises:
        SettingError: If a path does not exist.
        DataError: For the first check that fails.
    """
    for path in (certificate, weights, ledger, receipt):
        if path is not None and not path.exists():
            raise SettingError(f"{path}: no such file. Nothing was verified.")
    contents, digest = read_certificate(certificate)
    folder, files = certificate.parent, contents["files"]
    passed = [
        f"{certificate.name} is as gli wrote it (batch {contents['batch']}, {contents['verdict'].get('answer')})."
    ]

    own_copy = ledger is None
    ledger = ledger or folder / LEDGER
    lines, checked = _ledger_lines(ledger)
    if contents["previous"] not in {entry["hash"] for entry in lines.entries}:
        raise DataError(
            f"{ledger}: does not have the line {contents['previous']}, after which this certificate was written: it is "
            "the ledger of another store, or was set back to an earlier state."
        )
    releases = lines.of_kind("release", batch=contents["batch"])
    if len(releases) != 1 or releases[0].get("certificate") != digest:
        raise DataError(f"{ledger}: has no line about the release of this certificate.")
    release = releases[0]
    if release["previous"] != contents["previous"]:
        raise DataError(f"{ledger}: the line before the release is not the one that the certificate names.")
    if own_copy and lines.entries[-1] is not release:
        raise DataError(f"{ledger}: does not end with the release of this certificate.")
    before = lines.entries[: lines.entries.index(release)]
    if "lineage" in contents and contents["lineage"] != lineage_of(before, contents["weights"]["after"]):
        raise DataError(f"{ledger}: tells another lineage of the weights than the certificate.")
    passed.append(f"{ledger.name} {checked} ({len(lines.entries)} lines, with this release).")
    if "lineage" in contents:
        walked = check_lineage(Lines(before, 0), contents["weights"]["after"], contents["route"])
        passed += [walked] if walked else []

    purged, receipt_digest = read_canonical(receipt or folder / RECEIPT, "a receipt of a purge")
    purge = lines.of_kind("purge", batch=contents["batch"])[-1:]
    if receipt_digest != files.get(RECEIPT) or [each.get("receipt") for each in purge] != [receipt_digest]:
        raise DataError(f"{receipt or folder / RECEIPT}: is not the receipt of this batch's purge.")
    if purged.get("ledger", purge[0]["previous"]) != purge[0]["previous"]:
        raise DataError(f"{ledger}: the line before the purge is not the one that the receipt names.")
    passed.append(f"{RECEIPT} is the receipt of the purge.")

    signature = [] if contents["signed_by"] is None else [SIGNATURE]
    expected = {**files, **release["pages"]}
    known = {certificate.name, LEDGER, *signature, *expected}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or path.name not in known:
            what = "a link" if path.is_symlink() else "not a file of this release"
            raise DataError(f"{path}: is {what}. Verify the folder as it was released.")
    hashes = {name: value for name, value in files.items() if Path(name).suffix in WEIGHTS}
    if weights is not None:
        found = sha256_file(weights)
        if found not in hashes.values():
            raise DataError(f"{weights}: is not a file of weights of this release (SHA-256 {found[:16]}).")
        passed.append(f"{weights.name} is a file of this release.")
    missing = [name for name in sorted(expected) if not (folder / name).exists() and name != RECEIPT]
    for name in sorted(expected.keys() - {*missing, RECEIPT}):
        if sha256_file(folder / name) != expected[name]:
            raise DataError(f"{folder / name}: was changed after the release.")
        passed.append(f"{name} is unchanged.")
    if weights is None and hashes.keys() <= set(missing) and not certificate_only:
        raise DataError(
            f"{folder}: holds no weights of this release ({', '.join(hashes)}). Name the deployed file with --weights, "
            "or verify the papers only with --certificate-only."
        )
    passed += [f"Not seen: {name} is missing here." for name in missing]

    signed_by = contents["signed_by"]
    if public_key is not None and signed_by != public_key:
        raise DataError(f"{certificate}: {'was signed by another key' if signed_by else 'is not signed'}.")
    if signed_by is not None:
        check_signature(folder / SIGNATURE, read_bytes(certificate, "a certificate"), signed_by)
        passed.append(f"The signature is of the key {signed_by[:16]}.")
    else:
        passed.append("It is not signed: whoever can replace all of these files can make up others that verify.")
    return passed
