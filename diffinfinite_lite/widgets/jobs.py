"""Long work beside a page: a queue that several people share, jobs that can be cancelled and overtaken.

A `Job` is a function that runs in a thread of the `Queue` and tells how far it is. Whoever asks again overtakes what
they asked for before, since only the newest request is of use to them; others wait in order, and know their place.

Cancelling stops within one operation of torch, so within one call of a network, masks and decoding included: while a
job runs, `_Interruptible` stands between its thread and torch. It changes no number and no other thread.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from torch.overrides import TorchFunctionMode

from ..errors import explain

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
THREADS = "workbench"  # how the names of a queue's threads begin
_log = logging.getLogger(__name__)


class Cancelled(Exception):
    """The job was stopped, or overtaken by a newer one."""


class Job:
    """A piece of long work and how far it is.

    Attributes
    ----------
    owner : who asked for it; a newer job of the same owner overtakes it
    phase : waiting, running, done, failed or cancelled
    stage : what is being done, in a word
    done, total : pieces of the stage
    place : how many jobs begin before it
    result : of the work, once it is done
    error : the sentence of what went wrong, or None
    """

    def __init__(self, owner: Hashable, work: Callable[[Job], Any], changed: Callable[[Job], None]) -> None:
        self.owner, self._work, self._changed = owner, work, changed
        self.phase, self.stage, self.done, self.total, self.place = WAITING, "", 0, 0, 0
        self.result: Any = None
        self.error: str | None = None
        self._stop, self._ended = threading.Event(), threading.Event()
        self._stage_began = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.phase in (DONE, FAILED, CANCELLED)

    @property
    def seconds_left(self) -> float | None:
        """Estimate for the rest of the stage, from the pieces done so far; None before the first of them."""
        if self.phase != RUNNING or not self.done:
            return None
        return (time.monotonic() - self._stage_began) / self.done * (self.total - self.done)

    def cancel(self) -> None:
        """Let it stop; safe at any time, from any thread."""
        self._stop.set()

    def check(self) -> None:
        """Raise `Cancelled` if it should stop."""
        if self._stop.is_set():
            raise Cancelled

    def wait(self, seconds: float | None = None) -> bool:
        """Until nothing more comes of it; whether that is so after these seconds."""
        return self._ended.wait(seconds)

    def begin(self, stage: str, total: int) -> None:
        """A stage of so many pieces begins."""
        self.check()
        self.stage, self.done, self.total, self._stage_began = stage, 0, total, time.monotonic()
        self._changed(self)

    def advance(self) -> None:
        """One more piece is done."""
        self.check()
        self.done += 1
        self._changed(self)

    def follow(self, items: Iterable, total: int, stage: str) -> Iterator:
        """The items, one a piece of a stage, as `generate` takes its ``progress``."""
        self.begin(stage, total)
        for item in items:
            yield item
            self.advance()

    def run(self) -> None:
        """Do the work in this thread."""
        try:
            self.check()
            self.phase = RUNNING
            self._changed(self)
            with _Interruptible(self):
                self.result = self._work(self)
            self.check()
            self.phase = DONE
        except Cancelled:
            self.phase = CANCELLED
        except Exception as error:
            self.phase, self.error = FAILED, explain(error)
            if not isinstance(error, (ValueError, OSError, FloatingPointError)):
                _log.exception("a job failed")
        finally:
            self.close()

    def close(self) -> None:
        """Tell whoever waits that nothing more comes of it."""
        if not self.over:
            self.phase = CANCELLED
        try:
            self._changed(self)
        finally:
            self._ended.set()

    def move(self, place: int) -> None:
        """It has another place in the queue."""
        if place != self.place:
            self.place = place
            self._changed(self)


class _Interruptible(TorchFunctionMode):
    """While it is entered, every operation of torch in this thread asks first whether its job should stop."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._job.check()
        return func(*args, **(kwargs or {}))


class Queue:
    """Runs jobs, some at a time, in the order of their coming.

    Parameters
    ----------
    workers : how many jobs run at a time
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"expected at least 1 worker, got {workers}")
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._change = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{THREADS}-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)  # torch must not be at work in a thread when the interpreter goes

    def submit(
        self, owner: Hashable, work: Callable[[Job], Any], changed: Callable[[Job], None] = lambda job: None
    ) -> Job:
        """Put work into the queue; what the owner asked for before stops.

        Parameters
        ----------
        work : called with its job, in a thread of the queue
        changed : called with the job whenever something about it has changed, in any thread
        """
        job = Job(owner, work, changed)
        with self._change:
            if self._closed:
                raise ValueError("expected a queue that is open, got one that was closed")
            for earlier in self._running:
                if earlier.owner == owner:
                    earlier.cancel()
            overtaken = [earlier for earlier in self._waiting if earlier.owner == owner]
            self._waiting = [earlier for earlier in self._waiting if earlier.owner != owner] + [job]
            self._change.notify()
        for earlier in overtaken:
            earlier.close()
        self._tell_places()
        return job

    def cancel(self, owner: Hashable) -> None:
        """Stop whatever an owner has asked for."""
        with self._change:
            gone = [job for job in self._waiting if job.owner == owner]
            self._waiting = [job for job in self._waiting if job.owner != owner]
            for job in self._running:
                if job.owner == owner:
                    job.cancel()
        for job in gone:
            job.close()
        self._tell_places()

    def close(self) -> None:
        """Stop all jobs and threads; nothing can be submitted any more."""
        with self._change:
            self._closed = True
            gone, self._waiting = self._waiting, []
            for job in self._running:
                job.cancel()
            self._change.notify_all()
        for job in gone:
            job.close()
        for thread in self._threads:
            thread.join()
        atexit.unregister(self.close)

    def _tell_places(self) -> None:
        with self._change:
            places = list(enumerate(self._waiting, start=len(self._running)))
        for place, job in places:
            job.move(place)

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._waiting:
                    if self._closed:
                        return
                    self._change.wait()
                job = self._waiting.pop(0)
                self._running.append(job)
            job.place = 0
            self._tell_places()
            try:
                job.run()
            finally:
                with self._change:
                    self._running.remove(job)
                self._tell_places()
