"""Release a batch: files to deploy, model card, certificate, and a line in the ledger."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gli
from gli.erasure.batch_purge import check_texts, check_verdict
from gli.erasure.batches import choose, read_batch
from gli.erasure.canonical import canonical, durable_copy, durable_write, read_canonical, sha256, sha256_file
from gli.erasure.certificate import (
    CERTIFICATE,
    LIMITS,
    PAGE,
    SCHEMA,
    SIGNATURE,
    load_private_key,
    public_key_of,
    read_certificate,
    sealed,
    sign,
)
from gli.erasure.dates import timestamp
from gli.erasure.ledger import LEDGER, ledger_text
from gli.erasure.page import certificate_page, model_card
from gli.erasure.purge import RECEIPT
from gli.erasure.run import MODEL, read_evidence
from gli.erasure.status import step_of
from gli.erasure.store import Store
from gli.errors import DataError, SettingError

CARD = "MODEL_CARD.md"
FORMATS = ("safetensors", "onnx", "torch")
#: Packages whose versions a certificate has.
PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy")


@dataclass(frozen=True)
class Release:
    """A release.

    Attributes:
        folder: Folder with its files.
        certificate: The certificate.
        repeated: Whether it was there already.
    """

    folder: Path
    certificate: dict[str, Any]
    repeated: bool = False


def release(
    store: Store,
    name: str | None = None,
    *,
    formats: Sequence[str] = ("safetensors",),
    accepted_risk: str | None = None,
    key: Path | None = None,
    now: datetime | None = None,
) -> Release:
    """Release a batch that has run and is purged, or return the release that it has; call with the store locked.

    Args:
        store: The store.
        name: Name of the batch; None for the first one that is purged.
        formats: Formats of the weights.
        accepted_risk: Reason for releasing although the verdict is not ``pass``; None for that of the purge.
        key: PEM file of an Ed25519 private key that signs the certificate; None for no signature.
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
        if lines.of_kind("release", batch=name)[-1].get("certificate") != digest:
            raise DataError(f"{folder / CERTIFICATE}: is not the certificate that the ledger speaks of.")
        _copy_ledger(store, name)
        return Release(folder, certificate, True)
    if state != "purged":
        raise SettingError(f"{name} is {state}. Run it and purge it first: gli erase run, then gli erase purge.")
    receipt, receipt_digest = read_canonical(store.batch(name) / RECEIPT, "a receipt of a purge")
    if lines.of_kind("purge", batch=name)[-1].get("receipt") != receipt_digest:
        raise DataError(f"{store.batch(name) / RECEIPT}: is not the receipt that the ledger speaks of.")
    accepted_risk = accepted_risk or receipt["accepted_risk"]
    check_verdict(store, name, accepted_risk)
    check_texts(store, name, [accepted_risk or "", *receipt["exceptions"]])
    evidence = read_evidence(store, name)
    if sha256_file(store.batch(name) / MODEL) != evidence["weights"]["after"]:
        raise DataError(f"{store.batch(name) / MODEL}: was changed after the audit. Restore it from a backup.")
    signing = load_private_key(key) if key is not None else None
    contents = _contents(store, name, evidence, receipt, accepted_risk)
    outputs = list(store.settings.classes or store.settings.labels)
    files = _weights(store, name, folder, formats)
    durable_copy(store.batch(name) / RECEIPT, folder / RECEIPT)
    durable_write(folder / CARD, model_card(contents, outputs).encode())
    contents |= {
        "files": {path.name: sha256_file(path) for path in [*files, folder / RECEIPT, folder / CARD]},
        "created": timestamp(now),
        "previous": lines.last_hash,
        "signed_by": public_key_of(signing) if signing is not None else None,
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
    data = ledger_text(entries[: last + 1])
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
            {"request": request, **dates, "photographs": batch["photographs"][request]}
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
        "findings": evidence["findings"],
        "not_tested": evidence["not_tested"],
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
    from gli.models.export import export

    settings = store.settings
    description = {
        "backbone": settings.backbone,
        "outputs": list(settings.classes or settings.labels),
        "normalize": settings.normalize,
    }
    model = store.batch(name) / MODEL
    return export(model, folder, formats, name="model", description=description, image_size=settings.image_size)
