"""Jobs on a Ray cluster (the extra ``cluster``). Only this module imports Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from gli.errors import SettingError

#: Times that a job is started again after its worker was killed.
RETRIES = 2
#: Object store of a private cluster in bytes: jobs exchange an exit status only.
OBJECT_STORE = 80 * 2**20


def _run(arguments: Sequence[str], log: str, folder: str, gpus: float) -> int:
    """Run a script on a worker; its output goes to a file, so that it ends with the worker."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if not gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves it unset, and the job would see every GPU.
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", *arguments]
    with open(log, "wb") as file:
        return subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, cwd=folder, env=environment, check=False
        ).returncode


class Cluster:
    """Run scripts on a Ray cluster: a core each, and a GPU if it has GPUs; a killed worker's job is started again.

    Results are files, so the folders of the runs must be shared by all machines. A cluster that is started by hand
    should have token authentication: ``RAY_AUTH_MODE=token`` and ``RAY_AUTH_TOKEN`` on all machines.

    Args:
        address: ``HOST:PORT`` of the cluster, or ``local`` for a private one on this machine.
        jobs: Number of jobs at once on a private cluster.

    Raises:
        SettingError: If Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, address: str, jobs: int = 1) -> None:
        try:
            import ray
        except ImportError as error:
            raise SettingError(
                "--cluster needs Ray, which is not installed: pip install '.[cluster]' in gli's sources."
            ) from error
        self._ray: Any = ray
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            settings |= {
                "num_cpus": jobs,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_node_ip_address": "127.0.0.1",  # Otherwise its ports are open to the network.
            }
        else:
            settings["address"] = address
        try:
            ray.init(**settings)
        except Exception as error:  # Ray raises errors of many kinds if it cannot connect.
            raise SettingError(
                f"--cluster {address}: no Ray cluster can be reached ({error}). Check the address, and RAY_AUTH_TOKEN "
                "where the cluster has token authentication."
            ) from error
        self._remote = ray.remote(max_retries=RETRIES)(_run)

    def submit(self, arguments: Sequence[str], *, log: Path) -> Future[int]:
        """Run a script as soon as there is room; see :class:`gli.engine.execute.Executor`."""
        gpus = 1 if self._ray.cluster_resources().get("GPU", 0) else 0
        options = self._remote.options(num_cpus=1, num_gpus=gpus)
        reference = options.remote(list(arguments), str(log.absolute()), str(Path.cwd()), gpus)
        future: Future[int] = reference.future()
        return future

    def close(self) -> None:
        """Leave the cluster; its jobs of this session end. A private cluster stops."""
        self._ray.shutdown()
