"""Error against steps and against seconds of this library and its peers, on one problem.

    python benchmarks/training/run.py poisson-2d
    python benchmarks/training/run.py curves --seeds 3 --budget 300 --contenders curvature,adam

Learning rates are tuned first, on one seed with a share of the budget; then the contenders take turns, seed by seed, each in a
process of its own. A record, which is written after every run, a table and a figure go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: this folder is a package among the benchmarks
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from training import contenders, figure, record, summary, tuning
from training.problems import NAMES, class_of
from training.running import Show, progress, run


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=NAMES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=float, help="seconds for each run (default: the problem's own)")
    parser.add_argument("--contenders", help="only these, separated by commas")
    parser.add_argument("--threads", type=int, help="of every library (default: the problem's own, mostly 2)")
    parser.add_argument("--device", default="cpu", help="of the problems in PyTorch")
    parser.add_argument("--first-seed", type=int, default=0, help="with --merge: those before stay as they are")
    parser.add_argument("--merge", action="store_true", help="keep what the record has of others, and settings found before")
    parser.add_argument("--steps", type=int, help="at most so many steps (for trying out)")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "results")
    args = parser.parse_args()
    if not 0 <= args.first_seed < args.seeds:
        raise SystemExit(f"--first-seed {args.first_seed} leaves nothing of --seeds {args.seeds}")
    problem = class_of(args.problem)
    args.budget, args.threads = args.budget or problem.budget, args.threads or problem.threads
    path = args.out / f"training-{args.problem}{'' if args.device == 'cpu' else f'-{args.device}'}.json"
    kept = record.new(problem, budget=args.budget, threads=args.threads, device=args.device)
    if args.merge:
        kept = record.load(path, kept)
    try:
        with progress() as show:
            _all(args, kept, path, _chosen(args), show)
    except KeyboardInterrupt:
        print("stopped; what is done is kept", file=sys.stderr)
    record.save(path, kept)
    text = summary.table(kept)
    path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    figure.draw(kept, path.with_suffix(".png"))
    print(text)


def _chosen(args: argparse.Namespace) -> list[contenders.Contender]:
    """Those that were asked for and can run here."""
    known = contenders.of(args.problem)
    names = list(known) if args.contenders is None else [name.strip() for name in args.contenders.split(",")]
    strange = [name for name in names if name not in known]
    if strange:
        raise SystemExit(f"no contender {', '.join(strange)} on {args.problem}; there are {', '.join(known)}")
    for name in names:
        if not known[name].is_installed:
            print(f"{name} is left out: {known[name].needs} is not installed here", file=sys.stderr)
    return [known[name] for name in names if known[name].is_installed]


def _all(args: argparse.Namespace, kept: record.Record, path: Path, taking_part: list[contenders.Contender], show: Show) -> None:
    """Tune, then run, seed by seed."""

    def one(contender: contenders.Contender, settings: dict[str, Any], seed: int, budget: float, label: str) -> record.Record:
        order = {"problem": args.problem, "contender": contender.name, "settings": settings, "seed": seed, "budget": budget}
        order |= {"threads": args.threads, "device": args.device, "steps": args.steps}
        return run(order, show, label)

    for contender in taking_part:
        found = record.entry(kept, contender)
        if args.merge and found["settings"] is not None:
            continue
        found["settings"] = tuning.chosen(
            contender.grid(args.problem),
            lambda settings, contender=contender: one(
                contender, settings, tuning.SEED, tuning.SHARE * args.budget, f"tuning {contender.name} {settings}"
            ),
            found,
        )
        record.save(path, kept)
    for seed in range(args.first_seed, args.seeds):
        # Whoever is first in one round is last in the next.
        turn = seed % max(len(taking_part), 1)
        for contender in taking_part[turn:] + taking_part[:turn]:
            found = record.entry(kept, contender)
            label = f"seed {seed} of {args.seeds}, {contender.name}"
            record.add(found, {"seed": seed, **one(contender, found["settings"], seed, args.budget, label)})
            record.save(path, kept)


if __name__ == "__main__":
    main()
