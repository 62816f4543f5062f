"""The certificate: canonical JSON that names nobody, with a digest of its own and an optional signature.

A certificate says what was done, what was tested, what was found, and what could not be tested. It is no proof of
deletion.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gli.erasure.canonical import canonical, read_bytes, read_canonical, sha256
from gli.errors import DataError, SettingError

SCHEMA = "gli-erasure-certificate/1"
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
    if certificate.get("schema") != SCHEMA:
        return f"it is not of the form {SCHEMA}"
    for name in FIELDS.keys() ^ certificate.keys():
        return f"the field {str(name)[:40]!r} is {'missing' if name in FIELDS else 'unknown'}"
    for name, kind in FIELDS.items():
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
    body = {name: value for name, value in certificate.items() if name != "digest"}
    if certificate["digest"] != sha256(canonical(body)):
        raise DataError(f"{path}: was changed: its digest is not that of its contents.")
    return certificate, digest


# -- signatures --------------------------------------------------------------------------------------------------------


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SettingError(
            "Signatures need the package cryptography: pip install 'guided-loss-increasing[sign]'."
        ) from error
    return serialization, ed25519


def load_private_key(path: Path) -> Any:
    """Return the Ed25519 private key in a PEM file without a password.

    Raises:
        SettingError: If cryptography is not installed, or the file holds another key.
        DataError: If the file cannot be read.
    """
    serialization, ed25519 = _ed25519()
    try:
        key = serialization.load_pem_private_key(read_bytes(path, "a private key"), password=None)
    except (ValueError, TypeError) as error:
        raise SettingError(f"{path}: is not a private key in PEM format without a password.") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SettingError(
            f"{path}: is not an Ed25519 key. Create one: openssl genpkey -algorithm ed25519 -out key.pem"
        )
    return key


def public_key_of(key: Any) -> str:
    """Return the public key of a private key in hexadecimal digits."""
    return str(key.public_key().public_bytes_raw().hex())


def load_public_key(path: Path) -> str:
    """Return the Ed25519 public key in a PEM file, in hexadecimal digits.

    Raises:
        SettingError: If cryptography is not installed, or the file holds another key.
        DataError: If the file cannot be read.
    """
    serialization, ed25519 = _ed25519()
    try:
        key = serialization.load_pem_public_key(read_bytes(path, "a public key"))
    except (ValueError, TypeError) as error:
        raise SettingError(f"{path}: is not a public key in PEM format.") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise SettingError(f"{path}: is not an Ed25519 key.")
    return str(key.public_bytes_raw().hex())


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
