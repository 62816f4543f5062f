"""A store of erasure requests with small pictures, and batches that count as run without training."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from gli.engine import job as jobs
from gli.erasure.batches import EVIDENCE, MODEL, group, hashes_of, requests_of, sets_of, write_batch
from gli.erasure.requests import add, amend
from gli.erasure.run import declared_settings, limits_of
from gli.erasure.store import Policy, Settings, Store, create
from gli.models.backbones import build_classifier
from gli.system.ledger import HEAD, START, Ledger, canonical, key_hash, make_entry, sha256, sha256_file, write_canonical

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLASSES = ["adult", "child"]
BACKBONE = "test_resnet"
TRAINED = ("anna", "ben", "carla", "dora", "emil", "frida", "gustav", "hanna")
HELD_OUT = tuple(f"stranger{number}" for number in range(12))
PICTURES = 2


def write_pictures(home: Path, people: Sequence[str], table: str, side: int = 24) -> None:
    """Write noisy pictures of some people, and a table of them."""
    rows = [("file", "identity", "age")]
    for name in people:
        (home / "photos" / name).mkdir(parents=True, exist_ok=True)
        for number in range(PICTURES):
            seed = [*name.encode(), number]
            pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
            file = f"{name}/{name}-{number}.png"
            Image.fromarray(pixels).save(home / "photos" / file)
            rows.append((file, name, CLASSES[number % 2]))
    with (home / table).open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def save_classifier(path: Path, seed: int = 0) -> Path:
    """Write the state dict of a small untrained classifier."""
    torch.manual_seed(seed)
    torch.save(build_classifier(BACKBONE, len(CLASSES)).backbone.state_dict(), path)
    return path


def make_home(home: Path) -> Path:
    """Write photographs, tables and a classifier."""
    write_pictures(home, TRAINED, "faces.csv")
    write_pictures(home, HELD_OUT, "held_out.csv")
    save_classifier(home / "classifier.pth")
    return home


def settings_in(home: Path, **changes: Any) -> Settings:
    """Return the settings of a store in a home."""
    values: dict[str, Any] = {
        "weights": "classifier.pth",
        "weights_sha256": "",
        "backbone": BACKBONE,
        "root": str(home / "photos"),
        "table": str(home / "faces.csv"),
        "held_out": str(home / "held_out.csv"),
        "labels": ["age"],
        "classes": CLASSES,
        "image_size": 24,
        "policy": Policy(route="retrain"),
    }
    return Settings(**{**values, **changes})


def make_store(home: Path, **changes: Any) -> Store:
    """Create a store in a home, always with the same key: it decides who is in which half of the held-out people."""
    with mock.patch("gli.system.ledger.secrets.token_bytes", lambda count: bytes(range(count))):
        weights = None if changes.get("cohorts") else home / "classifier.pth"
        return create(home / "erasures", settings_in(home, **changes), weights)


def fake_run(store: Store, answer: str = "pass", seed: int = 1, attempts: int = 1) -> str:
    """Plan the next batch and write what a run of it would leave; return its name."""
    batches = group(store, NOW)
    name = next(each for each in batches if not store.ledger.read().of_kind("run", batch=each))
    sets = sets_of(store, name)
    requests = {
        each.request: {"received": str(each.received), "due": str(each.due)} for each in requests_of(store, name)
    }
    photographs = {request: len(rows) for request, rows in sets.forget.items()}
    facts = {"batch": name, "requests": requests, "photographs": photographs, "minutes": {}}
    written = write_batch(store, name, {**facts, "hashes": hashes_of(store, name, sets)})
    model = store.batch(name) / MODEL
    save_classifier(model, seed)
    finding = {
        "name": "this batch",
        "answer": answer,
        "sentence": "Nothing was trained.",
        "decides": True,
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "margin": 0.1,
        "people": len(requests),
        "images": sum(photographs.values()),
    }
    evidence = {
        "batch": name,
        "answer": answer,
        "route": "retrain",
        "reason": "a test",
        "limits": limits_of(attempts, declared_settings(store)),
        "manifest": sets.manifests,
        "policy": "",
        "left_out": 0,
        "findings": [finding],
        "people": dict.fromkeys(requests, "not powered"),
        "not_tested": [],
        "weights": {"before": sha256_file(store.weights), "after": sha256_file(model)},
        "method": {"name": "Retrained", "backbone": BACKBONE, "image_size": 24, "seed": 0, "references": 0},
    }
    digest = write_canonical(store.batch(name) / EVIDENCE, evidence)
    fields = {"batch": name, "evidence": digest, "facts": written, "key": "k", "answer": answer, "route": "retrain"}
    fields |= {f"weights_{end}": value for end, value in evidence["weights"].items()}
    fields |= {"manifest": sets.manifests["after"], "images": sets.manifests["images_after"]}
    store.ledger.append("run", fields, NOW)
    return name


def amended(folder: Path, reason: str = "a test") -> Store:
    """Note the changed settings of a store in its ledger; return the store."""
    amend(Store(folder, amending=True), reason, NOW)
    return Store(folder)


def chained(path: Path, entries: Iterable[Mapping[str, Any]], key: bytes | None = None) -> None:
    """Write lines and their head anew, with hashes that are right, as an attacker would.

    Args:
        path: The ledger.
        entries: The lines.
        key: Key of the attacker; None to keep the MACs as they are.
    """
    lines, previous = [], START
    for number, entry in enumerate(entries):
        fields = {name: value for name, value in entry.items() if name != "hash"}
        fields |= {"number": number, "previous": previous}
        if key is None:
            line = canonical({**fields, "hash": sha256(canonical(fields))}) + b"\n"
        else:
            fields = {name: value for name, value in fields.items() if name not in ("mac", "number", "previous")}
            fields |= {"key_hash": key_hash(key)} if "key_hash" in fields else {}
            line = make_entry(number, previous, fields.pop("time"), fields.pop("kind"), fields, key)
        previous = json.loads(line)["hash"]
        lines.append(line)
    path.write_bytes(b"".join(lines))
    head = Ledger(path.parent, key or b"")._head(len(lines), previous)
    path.with_name(HEAD).write_bytes(head if key else canonical({"lines": len(lines), "hash": previous}) + b"\n")


def ask(store: Store, *subjects: str, received: str = "2026-11-03") -> list[str]:
    """Add requests; return their pseudonyms."""
    return [each.request for each in add(store, [(subject, received) for subject in subjects], NOW)]


class InProcess:
    """Executor that runs jobs in this process, one after the other: no time is lost on imports."""

    def submit(self, arguments: Sequence[str], *, log: Path) -> Future[int]:
        done: Future[int] = Future()
        done.set_result(jobs.main(Path(arguments[-1])))
        return done

    def close(self) -> None:
        pass


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder by their relative paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def packed(**arrays: Any) -> bytes:
    """Return a compressed archive of arrays."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
