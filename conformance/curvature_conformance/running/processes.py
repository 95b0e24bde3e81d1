"""Trials in several processes: faster on several cores, and a subject that kills its process fails one check, not the run."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from . import environment
from .trial import Outcome, Trial
from .work import Work, fingerprint, groups


class WorkerError(RuntimeError):
    """No worker process could be brought to work."""


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Closed(Exception):
    """The run has ended while a process was being started."""


class Workers:
    """Worker processes that share out the trials of one run.

    Args:
        work: the run in words.
        trials: its trials; every worker makes the same list.
        count: how many processes.
        extra: environment that the backend's plugin asks for. Where no worker starts with it, they start without.
    """

    def __init__(self, work: Work, trials: Sequence[Trial], count: int, extra: Mapping[str, str]) -> None:
        self._work, self._trials, self.extra = work, trials, dict(extra)
        self._fingerprint = fingerprint(trials)
        self._groups: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        shared_out = groups(trials)
        for group in shared_out:
            self._groups.put(group)
        self._results: queue.SimpleQueue[tuple[int, Outcome] | BaseException | None] = queue.SimpleQueue()
        self._count = max(1, min(count, len(shared_out)))
        self._running: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, after_each: Callable[[Outcome], None] | None = None) -> tuple[list[Outcome], bool]:
        """(outcomes in the order of the plan, whether Ctrl-C came in between).

        Raises:
            WorkerError: a process does not start, or makes another plan; with what it wrote.
        """
        outcomes: dict[int, Outcome] = {}
        interrupted = False
        threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(self._count)]
        try:
            for thread in threads:
                thread.start()
            working = len(threads)
            while working:
                result = self._results.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    working -= 1
                    continue
                outcomes[result[0]] = result[1]
                if after_each is not None:
                    after_each(result[1])
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._close()
            for thread in threads:
                if thread.ident is not None:  # Ctrl-C may come before it was started
                    thread.join()
        if not interrupted and len(outcomes) != len(self._trials):
            raise WorkerError(f"{len(outcomes)} of {len(self._trials)} checks came back from the worker processes")
        return [outcomes[position] for position in sorted(outcomes)], interrupted

    def _serve(self) -> None:
        """One thread: a worker, and another one whenever it dies, until no group is left."""
        worker: _Worker | None = None
        try:
            while (group := self._next_group()) is not None:
                while group and not self._closed:
                    worker = worker or self._start()
                    group, alive = self._run_group(worker, group)
                    if not alive:
                        self._stop(worker)
                        worker = None
            self._results.put(None)
        except _Closed:
            self._results.put(None)
        except BaseException as error:  # it must reach the thread that waits for results
            self._results.put(error)
        finally:
            if worker is not None:
                self._stop(worker)

    def _next_group(self) -> list[int] | None:
        try:
            return None if self._closed else self._groups.get_nowait()
        except queue.Empty:
            return None

    def _run_group(self, worker: _Worker, group: list[int]) -> tuple[list[int], bool]:
        """(what is left to do, whether the process lives); where it died, the trial that it died in has failed."""
        worker.send(group)
        left, current = list(group), None
        while left and (message := worker.receive()) is not None:
            if "started" in message:
                current = message["started"]
            else:
                current = None
                left.remove(message["position"])
                self._results.put((message["position"], Outcome(**message["outcome"])))
        if left and not self._closed:
            # Between two trials nobody is to blame but the next one: it must not be left out in silence.
            victim = left[0] if current is None else current
            left.remove(victim)
            self._results.put((victim, self._death(victim, worker)))
            return left, False
        return left, not left

    def _death(self, position: int, worker: _Worker) -> Outcome:
        trial = self._trials[position]
        message = f"the process died ({worker.end()}) while the check ran{worker.said()}"
        return Outcome(trial.check.name, trial.scenario_name, "failed", message)

    def _start(self) -> _Worker:
        with self._lock:
            extra = dict(self.extra)
        worker = self._ready(extra)
        if worker is None and extra:
            with self._lock:
                self.extra = {}
            worker = self._ready({})
        assert worker is not None
        return worker

    def _ready(self, extra: Mapping[str, str]) -> _Worker | None:
        """A worker that has made its plan; None where it died on the way and there is an environment to do without."""
        worker = _Worker(environment.of_worker(extra))
        with self._lock:
            self._running.add(worker)
            closed = self._closed
        if closed:  # Ctrl-C while it was started: nobody else knows of it
            self._stop(worker)
            raise _Closed
        worker.send(self._work.to_dict())
        message = worker.receive()
        if message is None:
            self._stop(worker)
            if extra and not self._closed:
                return None
            if self._closed:
                raise _Closed
            raise WorkerError(f"a worker process ended ({worker.end()}) before it could run a check{worker.said()}")
        if message["ready"] != self._fingerprint:
            self._stop(worker)
            raise WorkerError(
                "a worker process makes another plan than this process: plugins that are registered by hand are not seen "
                "there; run with processes=1"
            )
        return worker

    def _stop(self, worker: _Worker) -> None:
        worker.stop()
        with self._lock:
            self._running.discard(worker)

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            running = list(self._running)
        for worker in running:
            worker.stop()


class _Worker:
    """One process and the pipes to it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        # Not a pipe: nobody reads it while the process runs. It goes with the object.
        self._errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "curvature_conformance.running.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=dict(environ),
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C goes to the parent alone
        )
        threading.Thread(target=self._end_with_it, daemon=True).start()

    def send(self, message: Any) -> None:
        """One line; a process that is gone is noticed by ``receive``."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # gone (BrokenPipeError; on Windows EINVAL), or stopped by another thread
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """Its next line, or None when it has ended."""
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except ValueError:  # stopped by another thread
            return None
        return json.loads(line) if line.endswith("\n") else None

    def end(self) -> str:
        """How it ended, in words."""
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def said(self) -> str:
        """The last lines that it wrote to standard error."""
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()[-8:]
        return "; it wrote:\n" + "\n".join(lines) if lines else ""

    def stop(self) -> None:
        """End it, if it has not ended, and what it has started."""
        if self._process.poll() is None:
            self._kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()

    def _kill(self) -> None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):  # its session is its own: see start_new_session
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _end_with_it(self) -> None:
        """Wait for the process, and end what it has started: a child that holds its pipes would keep them open for ever."""
        self._process.wait()
        self._kill()
