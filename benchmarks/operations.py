"""Time of each operation as a multiple of one gradient, interleaved in one process, beside other libraries.

    python benchmarks/operations.py --backend torch --network mlp --threads 2

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

_STATISTICS = {
    "K-FAC statistics, Monte Carlo": 1.8,
    "K-FAC statistics, exact": 7.0,
    "diagonal of the GGN": 2.7,
    "diagonal empirical Fisher": 1.5,
}
TARGETS = {
    ("mlp", "torch"): {"Hessian product": 2.6, "GGN product": 2.0, "GGN product, repeated": 1.5} | _STATISTICS,
    ("mlp", "jax"): {"Hessian product": 2.3, "GGN product": 2.0, "GGN product, repeated": 1.3} | _STATISTICS,
}
"""What is to be reached, by network and backend; on the CNN it is the best peer's figure."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--network", default="mlp", choices=("mlp", "cnn"))
    parser.add_argument("--device", default=None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--no-peers", action="store_true", help="leave other libraries out")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    # Before any library reads them.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    if args.backend == "jax" and args.threads == 1:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    args.out.mkdir(parents=True, exist_ok=True)
    record = measure(args)
    text = table(record)
    print(text)
    stem = f"operations-{args.network}-{args.backend}-{args.device or 'cpu'}"
    (args.out / f"{stem}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (args.out / f"{stem}.md").write_text(text + "\n", encoding="utf-8")


def measure(args: argparse.Namespace) -> dict:
    """Run everything and return the record."""
    import ours
    from networks import NETWORKS
    from timing import interleaved, multiples

    import curvature as cv

    backend, network = cv.backend(args.backend, device=args.device), NETWORKS[args.network]
    functions = {f"curvature|{name}": function for name, function in ours.operations(backend, network).items()}
    base, peers = "curvature|gradient", {}
    if args.backend == "torch":
        import peers_torch
        import torch

        torch.set_num_threads(args.threads)
        if args.device is None:
            functions["torch|gradient"] = peers_torch.gradient(network)
            base = "torch|gradient"
            if not args.no_peers:
                peers = peers_torch.installed("curvlinops", "backpack")
                for peer, operations in peers_torch.operations(network).items():
                    functions.update({f"{peer}|{name}": function for name, function in operations.items()})

    if args.backend == "jax":
        import peers_jax

        functions["jax|gradient"] = peers_jax.gradient(network, args.device)
        base = "jax|gradient"

    def progress(done: int) -> None:
        print(f"\rround {done} of {args.rounds + 2}", end="", file=sys.stderr, flush=True)

    seconds = interleaved(functions, rounds=args.rounds, finish=ours.finisher(backend), progress=progress)
    print(file=sys.stderr)
    return {
        "format": 2,
        "name": network.name,
        "network": network.summary,
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
    plain = (f"{record['backend']}|",)
    libraries = list(dict.fromkeys(name.split("|")[0] for name in figures if not name.startswith(plain)))
    names = list(dict.fromkeys(name.split("|")[1] for name in figures))
    targets = TARGETS.get((record["name"], record["backend"]), {}) if record["device"] == "cpu" else {}
    head = ["operation", *libraries] + (["to reach"] if targets else [])
    lines = [" | ".join(["", *head, ""]).strip(), "|" + "---|" * len(head)]
    for name in names:
        cells = [name]
        for library in libraries:
            figure = figures.get(f"{library}|{name}")
            cells.append(f"{figure['multiple']:.2f} ({figure['low']:.2f}-{figure['high']:.2f})" if figure else "")
        if targets:
            cells.append(f"≤ {targets[name]}" if name in targets else "")
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
