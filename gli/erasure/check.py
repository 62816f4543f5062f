"""Compare every file of a store with its ledger."""

from __future__ import annotations

from pathlib import Path

from gli.erasure.batches import AGAIN, BATCH, EVIDENCE, MODEL, WORK
from gli.erasure.certificate import CERTIFICATE, lineage_of, verify
from gli.erasure.cohorts import NETWORK, TRAINED_AGAIN, holds_file, network_path
from gli.erasure.purge import JOURNAL, RECEIPT
from gli.erasure.requests import COPIES, REQUESTS, planned_in, read_copies, read_requests
from gli.erasure.store import COHORTS, LOCK, REHEARSAL, SETTINGS, Store, check_noted
from gli.errors import DataError
from gli.system.ledger import HEAD, KEY_FILE, LEDGER, erased_in, read_bytes, sha256_file

#: Files of a store, and of the folder of each batch.
OF_STORE = (SETTINGS, KEY_FILE, LEDGER, HEAD, LOCK, REQUESTS, COPIES)
OF_BATCH = (BATCH, EVIDENCE, MODEL, RECEIPT, JOURNAL)


def check_batches(store: Store) -> list[Path]:
    """Compare the files of each batch with the ledger; return those that are missing.

    Raises:
        DataError: For the first file that differs.
    """
    lines, missing = store.ledger.read(), []
    for name in planned_in(lines):
        run, purge = lines.last("run", batch=name), lines.last("purge", batch=name)
        files = {BATCH: run.get("facts"), EVIDENCE: run.get("evidence"), RECEIPT: purge.get("receipt")}
        # The next purge removes weights before it.
        if (store.batch(name) / MODEL).exists() or not purge or purge is lines.last("purge"):
            files[MODEL] = run.get("weights_after")
        for path, noted in ((store.batch(name) / file, noted) for file, noted in files.items() if noted is not None):
            if path.exists():
                check_noted(path, sha256_file(path), noted, "Restore it from a backup." if purge else AGAIN)
            else:
                missing.append(path)
    return missing


def check_files(store: Store) -> list[str]:
    """Compare the files of a store with its ledger; the folders of runs are temporary, and are left out.

    Returns:
        What was compared, and what is missing, one sentence each.

    Raises:
        DataError: For the first file that differs, or that gli did not write.
    """
    lines, home = store.ledger.read(), store.folder
    read_requests(store)
    read_copies(store)
    known, temporary = {store.weights, *(home / name for name in OF_STORE)}, [home / REHEARSAL, home / "copies"]
    temporary.append(home / COHORTS / WORK)
    missing = check_batches(store)
    current = {file["weights"] for file in lineage_of(lines.entries, sha256_file(store.weights))}
    for entry in lines.of_kind(NETWORK):
        path = network_path(store, entry)
        known.add(path)
        if not path.exists():
            missing += [path] if entry["weights"] in current else []
            continue
        check_noted(path, sha256_file(path), entry["weights"], TRAINED_AGAIN)
        if holds_file(store, entry, erased_in(lines)):
            raise DataError(f"{path}: was trained on somebody who was erased. {TRAINED_AGAIN}")
    for name in planned_in(lines):
        folder = store.batch(name)
        if lines.last("release", batch=name):
            papers = store.release(name)
            sentences = verify(papers / CERTIFICATE, certificate_only=True)
            missing += [papers / each.split()[2] for each in sentences if each.startswith("Not seen")]
            if not store.ledger.path.read_bytes().startswith(read_bytes(papers / LEDGER, "a ledger")):
                raise DataError(f"{papers / LEDGER}: is not the beginning of the ledger of this store. Restore it.")
        temporary.append(folder / WORK)
        known |= {*(folder / each for each in OF_BATCH), *store.release(name).glob("*")}
    for path in home.rglob("*"):
        if path.is_file() and path not in known and not any(path.is_relative_to(each) for each in temporary):
            raise DataError(f"{path}: is not a file of this store. Move it elsewhere.")
    checked = f"The files of {home} are those that its ledger speaks of."
    return [checked, *(f"Not seen: {path} is missing." for path in missing)]
