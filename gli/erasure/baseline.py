"""What an audit of a classifier can show before anybody is erased: its memory of the people, and the power."""

from __future__ import annotations

from gli.erasure.batches import held_out_halves, kept_for_rehearsals
from gli.erasure.ledger import rehearsal_hash, sha256_file
from gli.erasure.requests import read_requests
from gli.erasure.store import Store

#: Numbers of people for which the smallest detectable AUC is shown.
SIZES = (1, 3, 10, 30)


def baseline(store: Store) -> list[str]:
    """Audit the classifier as it is, note the result in the ledger, and return it in sentences.

    The attack is the simplest one: the margin of a photograph, mean per person.
    """
    from gli.erasure.evaluate import evaluate
    from gli.erasure.evidence import baseline_interval, detectable_auc
    from gli.erasure.store import pixels_of

    lines = store.ledger.read()
    known, kept = lines.of_kind("baseline"), kept_for_rehearsals(lines)
    if known:
        entry = known[0]
    else:
        settings = store.settings
        groups = [
            evaluate(store.weights, each, pixels_of(each, settings), settings)
            for each in (store.photos, store.held_out)
        ]
        interval = baseline_interval(groups[0], groups[1])
        entry = store.ledger.append(
            "baseline",
            {
                "weights": sha256_file(store.weights),
                "auc": [round(each, 6) for each in (interval.value, interval.low, interval.high)],
                "accuracy": [round(float(each.hits.mean()), 6) for each in groups],
                "people": [int(each.people.max()) + 1 for each in groups],
                "images": [len(each.people) for each in groups],
            },
        )
    value, low, high = entry["auc"]
    _, unseen, _ = held_out_halves(store, lines, read_requests(store))
    everybody, compared = (
        {rehearsal_hash(store.key, photo.identity) for photo in photos} for photos in (store.held_out, unseen)
    )
    kept_words = f" ({len(everybody & kept)} of them for rehearsals only)" if kept else ""
    strangers = len(compared - kept)
    least = ", ".join(f"{size}: {detectable_auc(size, strangers):.2f}" for size in SIZES)
    return [
        f"Trained on {entry['people'][0]} people ({entry['images'][0]} photographs), accuracy "
        f"{entry['accuracy'][0]:.3f}; {entry['people'][1]} held-out people{kept_words}, accuracy "
        f"{entry['accuracy'][1]:.3f}.",
        f"People in training can be told from held-out people with an AUC of {value:.2f} ({low:.2f} to {high:.2f}).",
        f"An audit compares a batch with {strangers} of the held-out people; the others measure accuracy. Smallest AUC "
        f"that it can show, by the number of people in the batch: {least}.",
    ]
