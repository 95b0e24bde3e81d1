"""Time to make and to use every approximation, as a multiple of one gradient, beside the libraries that have it.

    python benchmarks/approximations.py --network mlp

All operations run interleaved in one process. Memory is measured apart, each operation in a process of its own:

    python benchmarks/approximations.py --network mlp --memory

Tables in Markdown and records with versions and every figure go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

TARGETS = {
    "mlp": {"EKFAC from scratch, Monte Carlo": "≤ 1/3 of curvlinops", "K-FAC solve": "≤ 0.15"},
    "cnn": {"K-FAC solve": "≤ 0.15"},
    "small": {},
}
MEMORY_TARGETS = {"diagonal of the GGN": 1.5, "K-FAC, Monte Carlo": 1.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mlp", choices=("mlp", "cnn", "small"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="operations that have this in their name")
    parser.add_argument("--no-peers", action="store_true", help="leave other libraries out")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--one", nargs=2, metavar=("LIBRARY", "OPERATION"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    # Before any library reads them.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    if args.one:
        print(json.dumps(peak_of(args, *args.one)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    record = memory(args) if args.memory else times(args)
    text = memory_table(record) if args.memory else time_table(record)
    print(text)
    stem = f"approximations-{args.network}-{'memory' if args.memory else 'torch-cpu'}"
    if not args.only:
        (args.out / f"{stem}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (args.out / f"{stem}.md").write_text(text + "\n", encoding="utf-8")


def functions(args: argparse.Namespace) -> dict:
    """{"library|operation": function}."""
    import approximations_ours
    import approximations_peers
    import peers_torch
    import torch
    from networks import NETWORKS

    import curvature as cv

    torch.set_num_threads(args.threads)
    network = NETWORKS[args.network]
    found = {"torch|gradient": peers_torch.gradient(network)}
    ours = approximations_ours.operations(cv.backend("torch"), network)
    found.update({f"curvature|{name}": function for name, function in ours.items()})
    if not args.no_peers:
        for peer, operations in approximations_peers.operations(network).items():
            found.update({f"{peer}|{name}": function for name, function in operations.items()})
    return {name: f for name, f in found.items() if name == "torch|gradient" or args.only in name}


def environment(args: argparse.Namespace) -> dict:
    """What a record says of where it was made."""
    import approximations_peers
    from networks import NETWORKS
    from operations import _version

    network = NETWORKS[args.network]
    return {
        "format": 1,
        "name": network.name,
        "network": network.summary,
        "threads": args.threads,
        "platform": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {name: _version(name) for name in ("curvature", "torch")} | approximations_peers.versions(),
    }


# Time -------------------------------------------------------------------------------------------------


def times(args: argparse.Namespace) -> dict:
    """Medians over interleaved rounds."""
    from timing import interleaved, multiples

    def progress(done: int) -> None:
        print(f"\rround {done} of {args.rounds + 2}", end="", file=sys.stderr, flush=True)

    seconds = interleaved(functions(args), rounds=args.rounds, progress=progress)
    print(file=sys.stderr)
    return environment(args) | {"rounds": args.rounds, "figures": multiples(seconds, "torch|gradient")}


def time_table(record: dict) -> str:
    """The record as Markdown, the best of each row in bold."""
    figures = record["figures"]
    libraries = list(dict.fromkeys(name.split("|")[0] for name in figures if not name.startswith("torch|")))
    names = list(dict.fromkeys(name.split("|")[1] for name in figures if not name.startswith("torch|")))
    targets = TARGETS[record["name"]]
    lines = [f"| operation | {' | '.join(libraries)} | to reach |", "|---" * (len(libraries) + 2) + "|"]
    for name in names:
        row = {library: figures.get(f"{library}|{name}") for library in libraries}
        best = min(figure["multiple"] for figure in row.values() if figure)
        cells = []
        for figure in row.values():
            if figure is None:
                cells.append("")
                continue
            shown = f"{figure['multiple']:.2f}"
            shown = f"**{shown}**" if figure["multiple"] == best else shown
            cells.append(f"{shown} ({figure['low']:.2f}-{figure['high']:.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} | {targets.get(name, '')} |")
    unit = figures["torch|gradient"]["milliseconds"]
    return "\n".join(
        [
            *lines,
            "",
            f"{record['network']}; multiples of one gradient of plain PyTorch ({unit:.1f} ms), medians of {record['rounds']} "
            f"interleaved rounds (quartiles), {record['threads']} threads; {_versions(record)}; {record['platform']}.",
        ]
    )


# Memory -----------------------------------------------------------------------------------------------


_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""What is freed goes back to the system at once, so that what a process holds is what it uses."""


def memory(args: argparse.Namespace) -> dict:
    """Peak memory of each operation above what the process held before it, in processes of their own."""
    figures: dict[str, float] = {}
    for name in functions(args):
        library, operation = name.split("|")
        peaks = []
        for _ in range(3):
            command = [sys.executable, "-W", "ignore", __file__, "--network", args.network, "--threads", str(args.threads)]
            done = subprocess.run(
                [*command, "--one", library, operation], capture_output=True, text=True, check=True, env=os.environ | _ALLOCATOR
            )
            peaks.append(json.loads(done.stdout.splitlines()[-1])["bytes"])
        figures[name] = sorted(peaks)[1]
        print(f"{name}: {figures[name] / 1e6:.1f} MB", file=sys.stderr)
    return environment(args) | {"figures": figures}


def peak_of(args: argparse.Namespace, library: str, operation: str) -> dict:
    """Bytes that an operation adds at its peak, after one run that lets libraries load what they load once."""
    import gc
    import threading

    args.only, args.no_peers = "", library in ("curvature", "torch")
    function = functions(args)[f"{library}|{operation}"]
    function()
    gc.collect()
    before = _resident()
    highest, over = before, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not over.is_set():
            highest = max(highest, _resident())
            over.wait(0.0002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(5):
        kept = function()
        del kept
    over.set()
    watcher.join()
    return {"bytes": highest - before}


def _resident() -> int:
    """Bytes of this process that lie in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_table(record: dict) -> str:
    """The record as Markdown."""
    figures = record["figures"]
    unit = figures["torch|gradient"]
    libraries = list(dict.fromkeys(name.split("|")[0] for name in figures if not name.startswith("torch|")))
    names = list(dict.fromkeys(name.split("|")[1] for name in figures if not name.startswith("torch|")))
    lines = [f"| operation | {' | '.join(libraries)} | to reach |", "|---" * (len(libraries) + 2) + "|"]
    for name in names:
        cells = [f"{figures[key] / unit:.2f}" if (key := f"{library}|{name}") in figures else "" for library in libraries]
        target = f"≤ {MEMORY_TARGETS[name]}" if name in MEMORY_TARGETS and record["name"] == "mlp" else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {target} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{record['network']}; peak memory above that of the process, as a multiple of that of one gradient of plain PyTorch "
            f"({unit / 1e6:.1f} MB), medians of 3 processes, {record['threads']} threads; {_versions(record)}.",
        ]
    )


def _versions(record: dict) -> str:
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items())


if __name__ == "__main__":
    main()
