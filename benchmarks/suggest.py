"""What ``curvature.suggest`` predicts of each approximation beside what is measured: time from the data to a solution, memory.

    python benchmarks/suggest.py --backend numpy --network mlp --threads 1

prints a table and writes it, with versions, under benchmarks/results/. A prediction is good if it is off by less than 3.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import warnings
from dataclasses import replace
from pathlib import Path

LEFT_OUT = ("exact", "neumann")
"""Far beyond these networks: a P × P matrix; a series whose length hangs on the eigenvalues alone."""

ITERATIVE = ("truncated", "block-tridiagonal-inverse")
"""Structures whose solves take the longer the less damping there is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--network", default="mlp", choices=("mlp", "cnn"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", action="append", help="only these")
    parser.add_argument("--without", action="append", default=[], help="these not")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)  # before any library reads them
    warnings.simplefilter("ignore")
    record = measure(args)
    text = table(record)
    print(text)
    if args.method is None:
        args.out.mkdir(parents=True, exist_ok=True)
        stem = args.out / f"suggest-{args.network}-{args.backend}"
        stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def measure(args: argparse.Namespace) -> dict:
    """Predictions and measurements of everything that can be made, every one once in each round, in random order."""
    import ours
    from networks import NETWORKS

    import curvature as cv
    from curvature.approximation import layout_of
    from curvature.comparison.making import timed
    from curvature.comparison.memory import held_bytes
    from curvature.comparison.predicting import gradient_seconds, seconds_per_flop
    from curvature.comparison.setting import default_damping

    backend = cv.backend(args.backend)
    if args.backend == "torch":
        import torch

        torch.set_num_threads(args.threads)
    problem = ours.problem(backend, NETWORKS[args.network])
    fisher = cv.Fisher(problem)
    layout, (damping, _), gradient = layout_of(fisher), default_damping(fisher), problem.gradient()
    rhs = problem.space.ravel(backend.xp, gradient)
    names: list[str] = []
    refused: dict[str, str] = {}
    for name in args.method or [info.name for info in cv.approximations() if info.name not in (*LEFT_OUT, *args.without)]:
        try:
            cv.approximate(fisher, name)
        except cv.UnsupportedError as error:
            refused[name] = str(error)
            continue
        names.append(name)
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    gradients, products, held = [], [], {}
    order, shuffle = [*names, "a gradient"], random.Random(0)
    for _ in range(args.rounds):
        shuffle.shuffle(order)
        for name in order:
            if name == "a gradient":
                gradients.append(gradient_seconds(fisher))
                products.append(seconds_per_flop(fisher))
                continue
            made, operator = timed(fisher, lambda name=name: cv.approximate(fisher, cv.approximation(name)))
            new = held_bytes(operator)
            # In closed form the time does not depend on the damping, and float32 asks for much of it.
            enough = damping if operator.structure in ITERATIVE else max(damping, float(operator.norm()))
            first, _ = timed(operator, lambda operator=operator, d=enough: operator.solve(rhs, d))
            again, _ = timed(operator, lambda operator=operator, d=enough: operator.solve(rhs, d))
            seconds[name].append({"made": made, "first": first, "again": again})
            held[name] = (new, held_bytes(operator))
    # As ``calibrated`` does, from the same rounds.
    gradient_time, rate = statistics.median(gradients), statistics.median(products)
    layout = replace(layout, overhead=gradient_time / (rate * layout.gradient))
    figures = {}
    for name, rounds in seconds.items():
        median = {key: statistics.median(one[key] for one in rounds) for key in ("made", "first", "again")}
        cost = cv.approximation(name).cost(layout)
        figures[name] = {"measured": median | {"bytes": held[name][0], "bytes_solving": held[name][1] - held[name][0]}}
        if cost is not None:
            first = (cost.flops_build + cost.flops_solve) * rate
            figures[name]["predicted"] = {
                "statistics": cost.flops_statistics * rate,
                "build_and_first": first,
                "again": cost.flops_solve * rate,
                "bytes": cost.bytes,
                "bytes_solving": cost.bytes_solving,
            }
    return {
        "format": 1,
        "network": NETWORKS[args.network].summary,
        "backend": args.backend,
        "threads": args.threads,
        "rounds": args.rounds,
        "gradient": gradient_time,
        "gflops": 1e-9 / rate,
        "overhead": layout.overhead,
        "gradient_flops": layout.gradient / layout.overhead,
        "load": os.getloadavg()[0],
        "platform": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "refused": refused,
        "figures": figures,
    }


def table(record: dict) -> str:
    """The record as Markdown."""
    head = ("approximation", "measured", "predicted", "ratio", "made / first / again", "MB", "predicted")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, figure in record["figures"].items():
        found, told = figure["measured"], figure.get("predicted")
        total = found["made"] + found["first"]
        held = f"{(found['bytes'] + found['bytes_solving']) / 1e6:.3g}"
        parts = " / ".join(f"{1e3 * found[key]:.1f}" for key in ("made", "first", "again"))
        if told is None:
            lines.append(f"| {name} | {1e3 * total:.1f} ms | not counted | | {parts} | {held} | |")
            continue
        expected = told["statistics"] + told["build_and_first"]
        memory = f"{(told['bytes'] + told['bytes_solving']) / 1e6:.3g}"
        lines.append(
            f"| {name} | {1e3 * total:.1f} ms | {1e3 * expected:.1f} ms | {expected / total:.2f} | {parts} | {held} | {memory} |"
        )
    lines += [f"| {name} | refused | | | | | |" for name in record["refused"]]
    lines += [
        "",
        f"{record['network']}; from the data to the first solution, medians of {record['rounds']} interleaved rounds, one "
        f"gradient {1e3 * record['gradient']:.1f} ms ({record['overhead']:.1f} times its products of matrices, which run at "
        f"{record['gflops']:.0f} GFLOP/s); {record['backend']}, {record['threads']} threads, load "
        f"{record['load']:.1f}; {record['platform']}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
