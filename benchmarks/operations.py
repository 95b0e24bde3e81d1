"""Time of each operation as a multiple of one gradient, interleaved in one process, beside other libraries.

    python benchmarks/operations.py --backend torch --threads 2

prints a table in Markdown and writes it, with versions and every figure, under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TARGETS = {
    "Hessian product": 2.8,
    "GGN product": 2.2,
    "K-FAC statistics, Monte Carlo": 2.2,
    "K-FAC statistics, exact": 8.0,
    "diagonal of the GGN": 3.2,
    "diagonal empirical Fisher": 1.6,
}
"""What the torch backend is to reach."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--device", default=None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--no-peers", action="store_true", help="leave other libraries out")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    # Before any library reads them.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    record = measure(args)
    text = table(record)
    print(text)
    stem = f"operations-{args.backend}-{args.device or 'cpu'}"
    (args.out / f"{stem}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (args.out / f"{stem}.md").write_text(text + "\n", encoding="utf-8")


def measure(args: argparse.Namespace) -> dict:
    """Run everything and return the record."""
    import ours
    from timing import interleaved, multiples

    import curvature as cv

    backend = cv.backend(args.backend, device=args.device)
    functions = {f"curvature|{name}": function for name, function in ours.operations(backend).items()}
    base, peers = "curvature|gradient", {}
    if args.backend == "torch":
        import peers_torch
        import torch

        torch.set_num_threads(args.threads)
        if args.device is None:
            functions["torch|gradient"] = peers_torch.gradient()
            base = "torch|gradient"
            if not args.no_peers:
                peers = peers_torch.installed()
                for peer, operations in peers_torch.operations().items():
                    functions.update({f"{peer}|{name}": function for name, function in operations.items()})

    def progress(done: int) -> None:
        print(f"\rround {done} of {args.rounds + 2}", end="", file=sys.stderr, flush=True)

    seconds = interleaved(functions, rounds=args.rounds, synchronize=backend.synchronize, progress=progress)
    print(file=sys.stderr)
    return {
        "format": 1,
        "network": "784-512-512-10 ReLU, batch 256, float32",
        "unit": base.replace("|", " "),
        "rounds": args.rounds,
        "threads": args.threads,
        "backend": args.backend,
        "device": args.device or "cpu",
        "platform": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {name: _version(name) for name in ("curvature", "numpy", args.backend)} | peers,
        "figures": multiples(seconds, base),
    }


def table(record: dict) -> str:
    """The record as Markdown."""
    figures = record["figures"]
    libraries = list(dict.fromkeys(name.split("|")[0] for name in figures if not name.startswith("torch|")))
    names = list(dict.fromkeys(name.split("|")[1] for name in figures))
    targeted = record["backend"] == "torch" and record["device"] == "cpu"
    head = ["operation", *libraries] + (["to reach"] if targeted else [])
    lines = [" | ".join(["", *head, ""]).strip(), "|" + "---|" * len(head)]
    for name in names:
        cells = [name]
        for library in libraries:
            figure = figures.get(f"{library}|{name}")
            cells.append(f"{figure['multiple']:.2f} ({figure['low']:.2f}-{figure['high']:.2f})" if figure else "")
        if targeted:
            cells.append(f"≤ {TARGETS[name]}" if name in TARGETS else "")
        lines.append("| " + " | ".join(cells) + " |")
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    unit = figures[record["unit"].replace(" ", "|", 1)]["milliseconds"]
    lines += [
        "",
        f"{record['network']}; multiples of one gradient ({record['unit']}, {unit:.1f} ms), medians of {record['rounds']} "
        f"interleaved rounds (quartiles), {record['threads']} threads; {versions}; {record['platform']}.",
    ]
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
