"""Trials in worker processes: the same outcomes in the same order, crashes that fail one check, and what workers are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import curvature as cv
from curvature_conformance import Selection, perform_in_processes, plan, run, subject_of
from curvature_conformance.running import environment as environments
from curvature_conformance.running.processes import WorkerError, Workers
from curvature_conformance.running.work import Work, fingerprint, groups

PART = Selection(scenarios="*regression/plain")


def work(name: str, selection: Selection = PART) -> tuple[Any, Work, list[Any]]:
    subject = subject_of(name)
    return subject, Work(name, None, None, None, selection), plan(subject, selection=selection)


def test_outcomes_are_those_of_one_process_in_the_same_order() -> None:
    subject, orders, trials = work("diagonal")
    seen: list[str] = []
    report = perform_in_processes(orders, subject, trials, 2, lambda outcome: seen.append(outcome.name))
    alone = run("diagonal", only_scenarios=PART.scenarios)
    assert [(o.name, o.status) for o in report.outcomes] == [(o.name, o.status) for o in alone.outcomes]
    assert sorted(seen) == sorted(o.name for o in report.outcomes)
    assert report.conforms
    assert report.selection == PART


def test_groups_hold_every_trial_once_and_a_family_together() -> None:
    trials = plan(subject_of("numpy"))
    found = groups(trials)
    assert sorted(position for group in found for position in group) == list(range(len(trials)))
    for group in found:
        assert len({getattr(trials[position].scenario, "name", "").partition("/")[0] for position in group}) == 1


KILLS = """
import os
import curvature as cv
from curvature_conformance.running import trial

real = trial.Trial.run

def run(self):
    if self.name == os.environ["KILL_AT"]:
        print("last words", flush=True)
        os.kill(os.getpid(), 9)
    return real(self)

trial.Trial.run = run
"""


def planted(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Code that every new Python process runs at its start."""
    (folder / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *(path for path in sys.path if path)]))


def test_a_process_that_dies_fails_the_check_that_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, orders, trials = work("diagonal")
    victim = trials[len(trials) // 2].name
    planted(tmp_path, monkeypatch, KILLS)
    monkeypatch.setenv("KILL_AT", victim)
    report = perform_in_processes(orders, subject, trials, 2)
    assert len(report.outcomes) == len(trials)
    assert [outcome.name for outcome in report.failures] == [victim]
    assert "SIGKILL" in report.failures[0].message
    assert "last words" in report.failures[0].message


BETWEEN = """
import os

real = os.fdopen

class Answers:
    def __init__(self, file):
        self.file, self.text = file, ""

    def write(self, text):
        self.text = text
        self.file.write(text)

    def flush(self):
        self.file.flush()
        if '"outcome"' in self.text and os.environ["KILL_AT"] in self.text:
            os._exit(7)

def fdopen(descriptor, mode="r", **options):
    file = real(descriptor, mode, **options)
    return Answers(file) if mode == "w" else file

os.fdopen = fdopen
"""


def test_a_process_that_dies_between_two_checks_leaves_none_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, orders, trials = work("diagonal", Selection(scenarios="softmax-regression/plain"))
    planted(tmp_path, monkeypatch, BETWEEN)
    monkeypatch.setenv("KILL_AT", trials[3].check.name)
    report = perform_in_processes(orders, subject, trials, 1)
    assert [outcome.name for outcome in report.outcomes] == [trial.name for trial in trials]
    assert [outcome.name for outcome in report.failures] == [trials[4].name]
    assert "exit status 7" in report.failures[0].message


FORKS = """
import os, time
from curvature_conformance.running import trial

real = trial.Trial.run

def run(self):
    if self.name == os.environ["KILL_AT"]:
        if os.fork() == 0:
            time.sleep(60)
        os.kill(os.getpid(), 9)
    return real(self)

trial.Trial.run = run
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_child_of_a_process_that_died_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, orders, trials = work("diagonal", Selection(scenarios="softmax-regression/plain"))
    planted(tmp_path, monkeypatch, FORKS)
    monkeypatch.setenv("KILL_AT", trials[2].name)
    start = time.perf_counter()
    report = perform_in_processes(orders, subject, trials, 1)
    assert time.perf_counter() - start < 45
    assert [outcome.name for outcome in report.failures] == [trials[2].name]


ASKS = """
from curvature_conformance.running import trial

real = trial.Trial.run

def run(self):
    try:
        input()
    except EOFError:
        pass
    return real(self)

trial.Trial.run = run
"""


def test_a_check_that_asks_for_input_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, orders, trials = work("diagonal", Selection(scenarios="softmax-regression/plain"))
    planted(tmp_path, monkeypatch, ASKS)
    assert perform_in_processes(orders, subject, trials, 1).conforms


def test_what_does_not_come_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _, orders, trials = work("diagonal")
    workers = Workers(orders, trials, 2, {})
    monkeypatch.setattr(workers, "_next_group", lambda: None)
    with pytest.raises(WorkerError, match=f"0 of {len(trials)} checks came back"):
        workers.run()


def test_a_process_that_cannot_start_is_an_error_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, orders, trials = work("diagonal")
    planted(tmp_path, monkeypatch, "import os, sys; sys.stderr.write('no libfoo'); sys.stderr.flush(); os._exit(3)")
    with pytest.raises(WorkerError, match=r"exit status 3.*no libfoo|(?s:exit status 3.*no libfoo)"):
        perform_in_processes(orders, subject, trials, 2)


def test_workers_start_without_an_environment_that_kills_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, orders, trials = work("diagonal")
    planted(tmp_path, monkeypatch, "import os\nif 'DEADLY' in os.environ: os._exit(1)")
    workers = Workers(orders, trials, 2, {"DEADLY": "1"})
    outcomes, interrupted = workers.run()
    assert (len(outcomes), interrupted) == (len(trials), False)
    assert workers.extra == {}


def test_another_plan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, orders, trials = work("diagonal")
    with pytest.raises(WorkerError, match="makes another plan"):
        perform_in_processes(orders, subject, trials[1:], 2)
    assert fingerprint(trials) != fingerprint(trials[1:])


class Asks:
    @cv.hookimpl
    def curvature_conformance_environment(self, backend: str) -> Any:
        return {"numpy": {"ASKED": "1", "SET": "theirs"}, "torch": ["no mapping"]}.get(backend)


def test_plugins_ask_for_an_environment_and_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "mine")
    monkeypatch.delenv("ASKED", raising=False)
    name = cv.register(Asks(), name="asks")
    try:
        assert environments.asked_for("numpy", None) == {"ASKED": "1"}
        with pytest.raises(TypeError, match="which is no mapping of strings"):
            environments.asked_for("torch", None)
    finally:
        cv.unregister(name)
    whole = environments.of_worker({"ASKED": "1"})
    assert (whole["SET"], whole["ASKED"], whole["OMP_NUM_THREADS"]) == ("mine", "1", os.environ.get("OMP_NUM_THREADS", "1"))


def test_ctrl_c_keeps_what_is_done_and_ends_the_workers(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    command = [sys.executable, "-m", "curvature", "conform", "exact", "--processes", "2", "--report", str(path)]
    program = (
        "import sys, _thread, itertools, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background of a shell ignores it
        "from curvature.cli import main\n"
        "from curvature_conformance.running import processes\n"
        "number = itertools.count(1)\n"  # a list's length may pass 20 in two threads at once
        "real = processes.Outcome\n"
        "def outcome(*a, **k):\n"
        "    if next(number) == 20: _thread.interrupt_main()\n"
        "    return real(*a, **k)\n"
        "processes.Outcome = outcome\n"
        f"sys.argv = ['curvature', *{command[3:]!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 130, done.stdout + done.stderr
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["interrupted"]
    assert not record["conforms"]
    assert 0 < len(record["outcomes"]) < len(plan(subject_of("exact")))
