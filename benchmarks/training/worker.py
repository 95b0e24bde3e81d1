"""One run in a process of its own: ``python -m training.worker '{"problem": …}'`` writes lines of JSON.

Lines say how far it is, the last one what it found.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from importlib.util import find_spec
from typing import Any


def main() -> None:
    """Run what the command line says."""
    order = json.loads(sys.argv[1])
    _prepare(order)
    from . import contenders, problems
    from .trace import Finished, Trace

    contender = contenders.of(order["problem"])[order["contender"]]
    problem = problems.make(order["problem"], order["seed"], order["device"])
    said = -1.0

    def measure(params: Any) -> dict[str, float]:
        nonlocal said
        figures = problem.measure(params)
        if time.monotonic() > said + 0.25:
            said = time.monotonic()
            value = next(iter(figures.values()))
            print(json.dumps({"seconds": trace.seconds, "step": trace.steps, "value": value}), flush=True)
        return figures

    trace = Trace(
        measure,
        order["budget"],
        spacing=problem.spacing,
        least=min(problem.least, order["budget"] / 50),
        steps=order.get("steps"),
        finish=problem.finish,
    )
    failed = None
    try:
        contender.run(problem, order["settings"], trace)
    except Finished:
        pass
    except Exception as error:
        traceback.print_exc()
        failed = f"{type(error).__name__}: {error}"
    print(json.dumps({"record": trace.record(problem.targets) | ({"failed": failed} if failed else {})}), flush=True)


def _prepare(order: dict[str, Any]) -> None:
    """What libraries read when they are loaded: as many cores and threads for all, and float64 where a problem has it."""
    from . import contenders, problems

    warnings.simplefilter("ignore")
    threads = order["threads"]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["OPENBLAS_THREAD_TIMEOUT"] = "4"  # its idle threads would keep the cores from other libraries for long
    os.environ["JAX_ENABLE_X64"] = str(int(problems.x64(order["problem"])))
    if order["problem"] in contenders.MODULES and find_spec("torch"):
        import torch

        # Subnormal numbers, of units that are off, take some processors ten times as long. XLA has none.
        torch.set_flush_denormal(True)
    if hasattr(os, "sched_setaffinity") and order["device"] == "cpu":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # XLA takes as many threads as there are cores


if __name__ == "__main__":
    main()
