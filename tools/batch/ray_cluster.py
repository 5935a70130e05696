"""A Ray cluster: one real ComfyUI server per worker, each in an actor of its own. `ray` is an optional extra; nothing else needs it."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from pathlib import Path

from hosting.host_server import ServerOptions
from hosting.quickstart_error import QuickstartError

from .cores import claim_cores
from .job import Job, Outcome, RowFailed, WorkerLost
from .local import OwnServer

TOOLS = Path(__file__).resolve().parents[1]
LOCAL = "local"
OBJECT_STORE = 256 << 20
"""Bytes of a cluster that is started here: rows and pictures in flight, nothing else."""
SECONDS_TO_CLOSE = 30.0
SWITCHED_OFF = ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")
"""Reports to Ray's makers; the niceness of 15, which leaves servers without a turn on a busy machine; hiding GPUs from workers without one."""


class ServerActor:
    """What runs in a worker's process, on whichever machine Ray puts it."""

    def __init__(self, slot: int, options: ServerOptions, silence: float, cores: int):
        self._cores = claim_cores(cores)  # before the server is started, which inherits them
        self.name = f"{socket.gethostname()}/{slot}"
        self._server = OwnServer(self.name, options, silence)

    def ready(self) -> str:
        return self.name

    def object_info(self) -> dict:
        return self._server.object_info

    def submit(self, job: Job) -> Outcome:
        return self._server.submit(job)

    def close(self) -> None:
        self._server.close()


class RayWorker:
    """The driver's end of an actor."""

    def __init__(self, actor, seconds_to_start: float):
        self._actor = actor
        self.name = self._ask(actor.ready, seconds=seconds_to_start)

    def object_info(self) -> dict:
        return self._ask(self._actor.object_info)

    def submit(self, job: Job) -> Outcome:
        return self._ask(self._actor.submit, job)

    def close(self) -> None:
        """End the server, then the actor, which may be gone already."""
        import ray

        with contextlib.suppress(WorkerLost):
            self._ask(self._actor.close, seconds=SECONDS_TO_CLOSE)
        ray.kill(self._actor)

    def _ask(self, method, *arguments, seconds: float | None = None):
        """What the actor's method returns or raises; WorkerLost for whatever else goes wrong on the way."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            return ray.get(method.remote(*arguments), timeout=seconds)
        except RayTaskError as error:
            if isinstance(error.cause, (RowFailed, WorkerLost)):
                raise error.cause from None
            raise WorkerLost(str(error)) from None
        except (RayError, TimeoutError) as error:
            raise WorkerLost(f"{type(error).__name__}: {str(error).splitlines()[0]}") from None


class RayCluster:
    """A worker per share of the cluster's CPUs or GPUs.

    address: "local" starts a cluster on this machine and ends it, "auto" and addresses join one that runs; ComfyUI and Graft have the
    same paths on all its machines. workers: None for as many as fit. cpus: of each worker, who is pinned to so many cores where it has no
    GPU. gpus: of each, a part of one allowed; None for one where the cluster has any.
    """

    def __init__(
        self,
        address: str,
        options: ServerOptions,
        silence: float = 60.0,
        workers: int | None = None,
        cpus: int = 1,
        gpus: float | None = None,
    ):
        ray = _ray()
        self._first: RayWorker | None = None
        local = {"num_cpus": os.cpu_count(), "object_store_memory": OBJECT_STORE} if address == LOCAL else {}
        self._own = not ray.is_initialized()
        if self._own:
            try:
                ray.init(
                    address,
                    log_to_driver=False,
                    include_dashboard=False if local else None,
                    runtime_env={"env_vars": {"PYTHONPATH": str(TOOLS)}},
                    logging_level="ERROR",
                    **local,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise QuickstartError(f"No Ray cluster at {address}: {error}") from None
        resources = ray.cluster_resources()
        self._gpus = gpus if gpus is not None else float(resources.get("GPU", 0) >= 1 and options.device != "cpu")
        self._cpus = cpus
        fitting = int(resources.get("GPU", 0) / self._gpus) if self._gpus else int(resources.get("CPU", 0) / cpus)
        self.size = workers or fitting
        if self.size < 1:
            self.close()
            raise QuickstartError(f"The cluster has {resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs: no worker fits.")
        device = "auto" if self._gpus else "cpu"
        self._options, self._silence = replace(options, device=device, threads=cpus if not self._gpus else None, port=None), silence

    def object_info(self) -> dict:
        """The nodes of its servers, asked of the first, who is kept for the first row."""
        try:
            self._first = self.open(0)
            return self._first.object_info()
        except WorkerLost as error:
            raise QuickstartError(f"No worker of the cluster is ready: {error}") from None

    def open(self, slot: int) -> RayWorker:
        if slot == 0 and self._first is not None:
            first, self._first = self._first, None
            return first
        pinned = 0 if self._gpus else self._cpus
        actors = _ray().remote(ServerActor).options(num_cpus=self._cpus, num_gpus=self._gpus, max_concurrency=2)
        actor = actors.remote(slot, self._options, self._silence, pinned)
        try:
            return RayWorker(actor, self._options.seconds_to_start + SECONDS_TO_CLOSE)
        except WorkerLost:
            _ray().kill(actor)
            raise

    def close(self) -> None:
        if self._first is not None:
            self._first.close()
        if self._own:
            _ray().shutdown()


def _ray():
    """The package; QuickstartError says how to get it."""
    for name in SWITCHED_OFF:
        os.environ.setdefault(name, "0")
    try:
        import ray
    except ImportError:
        raise QuickstartError(
            "--ray needs the package ray in ComfyUI's environment, on every machine of the cluster: pip install ray"
        ) from None
    return ray
