"""A training that is killed at any moment, several times, and taken up again, ends where one that was left alone ends."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import curvature as cv

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")

# Says every step. The pauses let the blow fall into a step, the writing of a checkpoint, or between them.
PROGRAM = """
import sys, time
import numpy as np
import curvature as cv

backend, path = sys.argv[1:]
be = cv.backend(backend, dtype="float64")
rng = np.random.default_rng(0)

def apply(params, x):
    return cv.namespace(x).tanh(x @ params["a"]) @ params["b"]

params = {name: be.asarray(rng.standard_normal(shape)) for name, shape in (("a", (20, 60)), ("b", (60, 3)))}
data = (be.asarray(rng.standard_normal((90, 20))), be.asarray(rng.standard_normal((90, 3))))
problem = cv.Problem(cv.Model(apply, params), cv.Gaussian(1.0), data)

def say(event):
    print(event.step, flush=True)
    time.sleep(0.002)

options = {"checkpoint": path, "checkpoint_every": 3} if path else {}
record = cv.fit(problem, cv.optim.Adam(0.01), epochs=60, batch_size=15, seed=1, callbacks=[say], **options)
assert record.complete
print("parameters", *(be.to_numpy(record.params[name]).tobytes().hex() for name in "ab"), record.final.loss.hex(), flush=True)
"""


def start(backend: str, path: Path | str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, backend, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def result(process: subprocess.Popen[str]) -> str:
    stdout, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return stdout.splitlines()[-1]


@pytest.mark.parametrize("backend", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_killed_several_times(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    path = tmp_path / "run"
    draw = random.Random()  # any moment will do: every one must
    reached = 0
    for _ in range(3):
        process = start(backend, path)
        assert process.stdout is not None
        # After some more steps than there were, and somewhere within the next.
        blow = reached + draw.randint(2, 30)  # of 360: far from the end, however slow this process is to strike
        for line in process.stdout:
            if int(line) >= blow:
                break
        try:
            process.wait(draw.uniform(0.0, 0.006))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        assert process.returncode == -9
        at = cv.load(path)["counters"]["step"]
        # It has the last multiple of three before the step that was said last, or a later one.
        assert at % 3 == 0
        assert at >= blow - 3
        reached = at
    process = start(backend, path)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == reached + 1
    resumed = result(process)
    assert resumed == result(start(backend, ""))
    assert np.frombuffer(bytes.fromhex(resumed.split()[1])).shape == (1200,)
