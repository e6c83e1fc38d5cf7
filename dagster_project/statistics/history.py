"""What a comparison's past says of its result: when its plan was stored and how often its data was looked at.

The registry itself is `warehouse/plan_registry.py`; here is only what it is asked and what it is told.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from dagster_project.statistics.arms import Arm


@dataclass(frozen=True)
class History:
    """The look that is being taken: the `look_number`-th at data of this comparison.

    Attributes
    ----------
    registered_at
        When this version of the plan was stored, UTC; None when no registry was asked.
    is_changed_after_results
        Whether another version of the plan had results before this one was stored.
    """

    look_number: int = 1
    registered_at: datetime | None = None
    is_changed_after_results: bool = False


UNREGISTERED = History()


def data_sha256(baseline: Arm, candidate: Arm) -> str:
    """Hash of what a comparison sees of its arms. The same data again is no new look, however often it is computed.

    Nor is it new data that open incidents have grown older: else one old ticket would make every night a look.
    """
    digest = hashlib.sha256()
    for arm in (baseline, candidate):
        for values in (arm.durations, arm.is_open, arm.started_at.astype(np.int64)):
            digest.update(np.ascontiguousarray(values).tobytes())
        for labels in (arm.incident_ids, arm.severities, arm.services):
            digest.update("\0".join(labels.tolist()).encode("utf-8", "surrogatepass"))
        digest.update(f"{arm.days!r} {arm.excluded}".encode())
    return digest.hexdigest()
