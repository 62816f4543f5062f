"""Choose the executor of a command line."""

from __future__ import annotations

from gli.engine.executor import Executor
from gli.errors import SettingError

#: Module that local jobs share: it is imported once, and each job is forked from the process that has it.
PRELOADED = "gli.commands.fit"


def make_executor(jobs: int = 1, cluster: str | None = None) -> Executor:
    """Return the executor of a command line.

    Args:
        jobs: Number of local jobs at once (``--jobs``).
        cluster: Address of a Ray cluster, or ``local`` for a private one on this machine (``--cluster``); None for
            local processes.

    Raises:
        SettingError: If ``jobs`` is less than 1, or Ray is not installed.
    """
    if jobs < 1:
        raise SettingError(f"--jobs is {jobs}; it must be at least 1.")
    if cluster is None:
        from gli.engine.local import Local

        return Local(jobs, preload=[PRELOADED])
    from gli.engine.cluster import Cluster

    return Cluster(cluster, jobs)
