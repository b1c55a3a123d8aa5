"""Inputs by the thousand, in workers that may die: what is wrong is collected with the seed that shows it."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from fuzz.inputs import make
from fuzz.worker import CPU_S, work

WALL_S = 20 * CPU_S
"""Until a worker that uses no CPU is taken to hang: long, since the host may have others to serve."""

Task = tuple[str, int]


@dataclass(frozen=True)
class Failure:
    """An input, by its kind and seed, and what is wrong with how it ended."""

    kind: str
    seed: int
    complaint: str

    def __str__(self) -> str:
        return f"{self.kind} {self.seed}: {self.complaint}"

    def save(self, folder: Path) -> Path:
        """Write the input's files and command line into a folder of its own."""
        place = folder / f"{self.kind}-{self.seed}"
        place.mkdir(parents=True, exist_ok=True)
        given = make(self.kind, self.seed)
        for name, content in given.files.items():
            (place / name).write_bytes(content)
        (place / "command.txt").write_text(f"{given.argv}\n{self}\n", encoding="utf-8", errors="backslashreplace")
        return place


class _Worker:
    def __init__(self, folder: str, subject: str, cpu_s: float) -> None:
        self.cpu_s = cpu_s
        context = get_context("spawn")
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=work, args=(theirs, folder, subject, cpu_s), daemon=True)
        self.process.start()
        theirs.close()
        self.task: Task | None = None

    def give(self, task: Task) -> None:
        self.task = task
        self.pipe.send(task)

    def answer(self) -> list[str]:
        """What it says; or, if it died, how."""
        try:
            complaints: list[str] = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            return [f"over {self.cpu_s:g} s of CPU" if code == -27 else f"the process died with {code}"]  # SIGPROF
        return complaints

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def hunt(
    tasks: Iterable[Task],
    jobs: int = 1,
    progress: Callable[[int, list[Failure]], None] | None = None,
    subject: str = "minisim.cli:main",
    patience_s: float = WALL_S,
    cpu_s: float = CPU_S,
) -> list[Failure]:
    """Run every task; a failure for each complaint.

    Args:
        jobs: workers at a time.
        progress: told after each input how many there were, and what failed so far.
        subject: the command, as ``module:name``.
        patience_s: until a worker that is silent is taken to hang.
        cpu_s: what an input may use.
    """
    waiting, failures, done = deque(tasks), [], 0
    with tempfile.TemporaryDirectory() as folder:
        workers = [_Worker(folder, subject, cpu_s) for _ in range(jobs)]
        try:
            while waiting or any(worker.task for worker in workers):
                for worker in workers:
                    if worker.task is None and waiting:
                        worker.give(waiting.popleft())
                busy = [worker for worker in workers if worker.task]
                ready = wait([worker.pipe for worker in busy], patience_s)
                for worker in busy:
                    if ready and worker.pipe not in ready:
                        continue
                    complaints = worker.answer() if ready else [f"nothing happened for {patience_s:g} s"]
                    kind, seed = worker.task or ("", 0)
                    failures += [Failure(kind, seed, complaint) for complaint in complaints]
                    done, worker.task = done + 1, None
                    if complaints and waiting:  # its memory, or its state, may be spoilt
                        worker.end()
                        workers[workers.index(worker)] = _Worker(folder, subject, cpu_s)
                    if progress:
                        progress(done, failures)
        finally:
            for worker in workers:
                worker.end()
    return failures
