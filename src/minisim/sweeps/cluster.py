"""Lanes on a dask cluster: each is a worker, wherever it runs.

Models travel by content, once to each worker, also to those that join later; no folder is shared, and no path means
anything there. A worker whose minisim is not this one, to the byte, is refused. What a worker was at that is lost, dask
gives to another one; a task on which more workers died than the scheduler allows (`allowed-failures`) has failed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

try:
    from distributed import Client, KilledWorker, WorkerPlugin
except ImportError as e:
    from minisim.errors import MissingExtraError

    raise MissingExtraError.of("distributed", "cluster", "--cluster") from e

from minisim.errors import UsageError, described, one_line
from minisim.sweeps.identity import code
from minisim.sweeps.lanes import Known, Stream, streamed
from minisim.sweeps.work import FAILED, Computer, How, Outcome, Task

PATIENCE_S = 20
"""Seconds in which a scheduler must answer."""

LOOK_S = 2.0
"""Seconds between two looks for workers that joined."""


@contextmanager
def on_cluster(address: str, models: Mapping[str, bytes], how: How) -> Generator[Stream, None, None]:
    """The workers of a cluster, which have these models, and compute tasks of them, as long as the context lasts.

    Args:
        address: of the scheduler, or the path of its file.

    Raises:
        UsageError: nobody answers there, there are no workers, or one has another minisim; or the cluster ends.
    """
    with _client(address) as client:
        _check_workers(address, client.run(_asks(), on_error="return"))
        plugin = Models(code(), models)
        client.register_plugin(plugin, name=plugin.name)
        lanes: dict[str, ClusterLane] = {}
        looked = 0.0

        def joined() -> list[ClusterLane]:
            """The lanes of workers that came since the last look, which is no longer ago than `LOOK_S`."""
            nonlocal looked
            if time.monotonic() - looked < LOOK_S:
                return []
            looked = time.monotonic()
            new = [name for name in _workers(client) if name not in lanes]
            lanes.update((name, ClusterLane(client, address, name, plugin)) for name in new)
            return [lanes[name] for name in new]

        def stream(tasks: Sequence[Task], known: Known) -> Generator[list[Outcome], None, None]:
            joined()
            return streamed(tasks, list(lanes.values()), how, known, joined, LOOK_S)

        try:
            yield stream
        finally:
            if client.status == "running":
                client.unregister_worker_plugin(plugin.name)


@contextmanager
def _client(address: str) -> Generator[Any, None, None]:
    """A connection to the scheduler, which is closed at the end, and with it what was still asked of it."""
    where: dict[str, Any] = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        connect: Any = Client  # it has no types
        client = connect(**where, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as e:
        raise UsageError(f"--cluster {address}: no scheduler answers there ({one_line(e)})") from None
    with client:
        yield client


def _workers(client: Any) -> list[str]:
    return list(client.scheduler_info(n_workers=-1)["workers"])


def _asks() -> Callable[[], str]:
    """What asks a worker for its code: a function that travels by its own code, since minisim may not be there."""

    def asked() -> str:
        from minisim.sweeps.identity import code

        return code()

    return asked


def _check_workers(address: str, answers: Mapping[str, object]) -> None:
    """Refuse workers that are none, or have another minisim.

    Args:
        answers: by worker, the hash of its code, or the exception that it raised.
    """
    if not answers:
        raise UsageError(f"--cluster {address}: there are no workers")
    for worker, answer in answers.items():
        if answer != code():
            raise UsageError(_refusal(address, worker, answer))


def _refusal(address: str, worker: str, answer: object) -> str:
    what = f"has no minisim that fits ({described(answer)})" if isinstance(answer, Exception) else "has another minisim"
    return f"--cluster {address}: worker {worker} {what}: install the same one there as here, {code()[:12]}"


class Models(WorkerPlugin):
    """Brings the models of a sweep to a worker, and takes them away at the end.

    Attributes:
        name: of the models and the code: equal ones are equal.
    """

    def __init__(self, sender: str, models: Mapping[str, bytes]) -> None:
        self.sender, self.models = sender, dict(models)
        self.name = f"minisim-{sha256(' '.join([sender, *sorted(models)]).encode()).hexdigest()[:16]}"

    def setup(self, worker: Any) -> None:
        with _LOCK:
            _COMPUTERS[self.name] = Computer(self.models)

    def teardown(self, worker: Any) -> None:
        with _LOCK:
            _COMPUTERS.pop(self.name, None)


_COMPUTERS: dict[str, Computer] = {}
"""Of this worker, by the names of their models."""

_LOCK = threading.Lock()
"""A worker may have several threads; what computes has one."""


def compute_there(name: str, sender: str, task: Task, how: How) -> Outcome | str:
    """The outcome of a task on a worker; or, if the worker has another minisim, the hash of that."""
    if sender != code():
        return code()
    with _LOCK:
        return _COMPUTERS[name].compute(task, how)


class ClusterLane:
    """A worker. If it is lost, dask gives what it was at, and what else it is given, to others."""

    def __init__(self, client: Any, address: str, worker: str, plugin: Models) -> None:
        self._executor = client.get_executor(workers=[worker], allow_other_workers=True, pure=False)
        self._address, self._worker, self._plugin = address, worker, plugin

    def submit(self, task: Task, how: How) -> Future[Outcome]:
        """Raises UsageError, or the result does, where the cluster has ended or a worker has another minisim."""
        answer: Future[Outcome] = Future()

        def settle(done: Future[Outcome | str]) -> None:
            try:
                found = done.result()
            except KilledWorker as e:
                answer.set_result(Outcome(task.key, FAILED, _died(e), ""))
            except CancelledError:
                answer.set_exception(UsageError(f"--cluster {self._address}: the cluster has ended"))
            except Exception as e:  # it could not even be begun there
                answer.set_exception(UsageError(_refusal(self._address, self._worker, e)))
            else:
                if isinstance(found, str):
                    answer.set_exception(UsageError(_refusal(self._address, "that joined", found)))
                else:
                    answer.set_result(found)

        given = self._executor.submit(compute_there, self._plugin.name, self._plugin.sender, task, how)
        given.add_done_callback(settle)
        return answer

    def renew(self) -> None:
        """There is nothing to begin anew."""


def _died(error: Any) -> str:
    return f"{error.allowed_failures + 1} workers died of it (out of memory?)"
