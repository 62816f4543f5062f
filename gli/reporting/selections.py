"""Ways to select the audit of a run that is reported. Loads nothing, for the signatures of commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Select = Literal["final_score", "held_out", "end"]
#: The ways, as the report explains them.
SELECTIONS: Mapping[str, str] = {
    "final_score": "the audit with the best final score on the same sets that are reported, as in the released code",
    "held_out": "the audit with the best final score on half of the test and unseen people; the other half is reported",
    "end": "the last audit of the run, whose length was set beforehand",
}
