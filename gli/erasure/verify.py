"""Verify a certificate offline: hash chain, receipt, released files and signature; no GPU, no photographs, no key."""

from __future__ import annotations

from pathlib import Path

from gli.erasure.canonical import read_bytes, read_canonical, sha256_file
from gli.erasure.certificate import SIGNATURE, check_signature, read_certificate
from gli.erasure.ledger import HEAD, LEDGER, Ledger, Lines, parse_lines
from gli.errors import DataError

RECEIPT = "purge.json"


def _ledger_lines(path: Path) -> Lines:
    """Return the lines of a ledger, or of the copy that a release holds, which has no head."""
    if (path.parent / HEAD).exists() and path.name == LEDGER:
        lines = Ledger(path.parent).read()
    else:
        lines = parse_lines(read_bytes(path, "a ledger"), str(path))
    if lines.torn:
        raise DataError(f"{path}: its last line is incomplete.")
    return lines


def verify(
    certificate: Path,
    weights: Path | None = None,
    ledger: Path | None = None,
    receipt: Path | None = None,
    public_key: str | None = None,
) -> list[str]:
    """Check a certificate against everything that it speaks of.

    Args:
        certificate: ``certificate.json``.
        weights: The deployed file; None for the weights beside the certificate.
        ledger: ``ledger.jsonl``; None for the copy beside the certificate.
        receipt: ``purge.json``; None for the copy beside the certificate.
        public_key: Public key, in hexadecimal digits, that must have signed; None for the one that the certificate
            names, if any.

    Returns:
        One sentence per check that was passed.

    Raises:
        DataError: For the first check that fails.
    """
    contents, digest = read_certificate(certificate)
    folder = certificate.parent
    passed = [
        f"{certificate.name} is as gli wrote it (batch {contents['batch']}, {contents['verdict'].get('answer')})."
    ]

    own_copy = ledger is None
    ledger = ledger or folder / LEDGER
    lines = _ledger_lines(ledger)
    releases = lines.of_kind("release", batch=contents["batch"])
    if len(releases) != 1 or releases[0].get("certificate") != digest:
        raise DataError(f"{ledger}: has no line about the release of this certificate.")
    release = releases[0]
    if release["previous"] != contents["previous"]:
        raise DataError(f"{ledger}: the line before the release is not the one that the certificate names.")
    if own_copy and lines.entries[-1] is not release:
        raise DataError(f"{ledger}: does not end with the release of this certificate.")
    passed.append(f"{ledger.name} is an unbroken chain of {len(lines.entries)} lines with this release in it.")

    _, receipt_digest = read_canonical(receipt or folder / RECEIPT, "a receipt of a purge")
    purges = lines.of_kind("purge", batch=contents["batch"])
    if receipt_digest != contents["files"].get(RECEIPT) or [each.get("receipt") for each in purges][-1:] != [
        receipt_digest
    ]:
        raise DataError(f"{receipt or folder / RECEIPT}: is not the receipt of this batch's purge.")
    passed.append(f"{RECEIPT} is the receipt of the purge.")

    if weights is not None:
        found = sha256_file(weights)
        if found not in {value for name, value in contents["files"].items() if name != RECEIPT}:
            raise DataError(f"{weights}: is not a file of this release (SHA-256 {found[:16]}).")
        passed.append(f"{weights.name} is a file of this release.")
    for name, expected in sorted({**contents["files"], **release["pages"]}.items()):
        path = folder / Path(str(name)).name
        if name == RECEIPT or not path.exists():
            continue
        if sha256_file(path) != expected:
            raise DataError(f"{path}: was changed after the release.")
        passed.append(f"{name} is unchanged.")
    if weights is None and not any((folder / name).exists() for name in contents["files"] if name != RECEIPT):
        raise DataError(f"{folder}: holds no weights of this release. Name the deployed file with --weights.")

    signed_by = contents["signed_by"]
    if public_key is not None and signed_by != public_key:
        raise DataError(f"{certificate}: {'was signed by another key' if signed_by else 'is not signed'}.")
    if signed_by is not None:
        check_signature(folder / SIGNATURE, read_bytes(certificate, "a certificate"), signed_by)
        passed.append(f"The signature is of the key {signed_by[:16]}.")
    else:
        passed.append("It is not signed: whoever can replace all of these files can make up others that verify.")
    return passed
