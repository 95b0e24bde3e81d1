"""``curvature train``: natural gradient beside first-order optimisers, on real data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from ..approximation import approximate, as_method
from ..backend import Backend
from ..likelihoods import Categorical
from ..matrices import Fisher
from ..operators import Dense
from ..problem import Model, Problem
from ..registry import backend as find_backend
from ..training import fit
from .training.contenders import BATCH, Contender, baselines, natural_gradient
from .training.data import DataSet, load
from .training.network import accuracy, perceptron
from .training.output import Output
from .training.plot import draw
from .training.problems import BadInput, require_installed, said_plainly
from .training.progress import bars
from .training.record import describe
from .training.run import Run
from .training.table import results
from .training.threads import threads

BAD_INPUT, INTERRUPTED = 2, 130


class FisherKind(StrEnum):
    """Which Fisher information is approximated."""

    exact = "exact"
    monte_carlo = "monte-carlo"
    empirical = "empirical"


def train(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="What to learn: digits.")],
    backend: Annotated[str, typer.Option(help="Array library; `curvature list` shows them.")] = "numpy",
    device: Annotated[str | None, typer.Option(help="Device of the backend, such as cuda.", show_default="its own")] = None,
    approximation: Annotated[
        str, typer.Option(help="Approximation of the Fisher information: diagonal, kfac, exact, or one that a plugin adds.")
    ] = "kfac",
    fisher: Annotated[
        FisherKind, typer.Option(help="Expectation over labels: in closed form, from one draw each, or the labels of the data.")
    ] = FisherKind.exact,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training examples.")] = 50,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Examples in a minibatch.", show_default=f"all for natural gradient, {BATCH} for the others"),
    ] = None,
    hidden: Annotated[str, typer.Option(metavar="WIDTHS", help="Widths of the hidden layers.")] = "24,24",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the start, the minibatches and the draws.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the plot and the record.", show_default="curvature-DATASET")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Train a small network by natural gradient, by gradient descent with momentum and by Adam, from the same start.

    Ends with a table, and writes OUT/DATASET.png (training loss against steps and seconds) and OUT/DATASET.json (arguments,
    versions, curves, results). Ctrl-C ends the training; what was done until then is shown and written.

    Exit status: 0 done; 1 an optimiser could not go on, or the results could not be written; 2 the arguments cannot be;
    130 interrupted.
    """
    arguments = {
        "dataset": dataset,
        "backend": backend,
        "device": device,
        "approximation": approximation,
        "fisher": fisher.value,
        "epochs": epochs,
        "batch_size": batch_size,
        "hidden": hidden,
        "seed": seed,
        "out": None if out is None else str(out),
    }
    try:
        plan = _plan(arguments)
        output = Output(out or Path(f"curvature-{dataset}"), dataset)
    except BadInput as problem:
        typer.echo(f"curvature train: {problem}", err=True)
        raise typer.Exit(BAD_INPUT) from problem
    _carry_out(plan, output, Console(quiet=quiet))


@dataclass(frozen=True)
class _Plan:
    arguments: dict[str, Any]
    backend: Backend
    data: DataSet
    widths: list[int]
    problem: Problem
    contenders: list[Contender]
    shuffles: int
    threads: int | None

    @property
    def title(self) -> str:
        where = f" on {self.backend.device}" if self.backend.device is not None else ""
        widths = "-".join(map(str, self.widths))
        return f"{self.data.name}: {widths} network, {self.problem.space.size} parameters, {self.backend.name}{where}"


def _plan(arguments: dict[str, Any]) -> _Plan:
    """Everything that can be known to be wrong is found here."""
    require_installed()
    # Streams of their own: the draws of one do not depend on how many another needs.
    split, start, shuffles, draws = (int(s) for s in np.random.SeedSequence(arguments["seed"]).generate_state(4))
    backend = _backend(arguments["backend"], arguments["device"])
    method = _method(arguments["approximation"])
    data = load(arguments["dataset"], backend, split)
    batch_size, examples = arguments["batch_size"], data.sizes[0]
    if batch_size is not None and batch_size > examples:
        raise BadInput(f"--batch-size {batch_size} is more than the {examples} training examples of {data.name}")
    widths = [data.features, *_widths(arguments["hidden"]), data.classes]
    with said_plainly():
        model: Model = perceptron(backend, widths, start)
        problem = Problem(model, Categorical(), data.train)
        # A trial on two examples: what the approximation cannot do with this network, it says here.
        few = problem.at(data=(data.train[0][:2, :], data.train[1][:2]))
        dense = isinstance(approximate(Fisher(few), method), Dense)
    fisher = arguments["fisher"]
    natural = natural_gradient(method, fisher=fisher, dense=dense, seed=draws, batch_size=batch_size)
    # Matrices as small as these gain nothing from several threads, and lose much where other programs use the cores too.
    limit = None if dense else 1
    return _Plan(arguments, backend, data, widths, problem, [natural, *baselines(batch_size or BATCH)], shuffles, limit)


def _backend(name: str, device: str | None) -> Backend:
    with said_plainly():
        return find_backend(name, device=device, dtype="float64")


def _method(name: str) -> Any:
    try:
        with said_plainly():
            return as_method(name)
    except TypeError as error:  # an option without a default
        raise BadInput(str(error)) from error


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        widths = [0]
    if any(width < 1 for width in widths):
        raise BadInput(f"--hidden {text!r}: give the widths of the hidden layers as positive integers, such as 24,24")
    return widths


def _carry_out(plan: _Plan, output: Output, console: Console) -> None:
    started = datetime.now(UTC)
    runs: list[Run] = []
    try:
        with bars(console, plan.contenders) as shown, threads(plan.threads):
            for contender in plan.contenders:
                runs.append(_run(plan, contender, shown.follow(contender)))
                if runs[-1].record.interrupted:
                    break
    finally:
        # Also after a failure that nobody foresaw: what was done until then is kept.
        if runs:
            _conclude(plan, output, console, started, runs)
    if any(run.record.interrupted for run in runs):
        typer.echo("curvature train: interrupted", err=True)
        raise typer.Exit(INTERRUPTED)
    if any(run.record.error for run in runs):
        raise typer.Exit(1)


def _run(plan: _Plan, contender: Contender, follower: Callable[[Any], None]) -> Run:
    record = fit(
        plan.problem,
        contender.optimizer,
        epochs=plan.arguments["epochs"],
        batch_size=contender.batch_size,
        seed=plan.shuffles,
        callbacks=[follower],
        test=plan.data.test,
        metrics={"accuracy": accuracy},
    )
    return Run(contender, record)


def _conclude(plan: _Plan, output: Output, console: Console, started: datetime, runs: list[Run]) -> None:
    console.print()
    console.print(results(plan.title, runs))
    record = describe(
        started=started,
        arguments=plan.arguments,
        backend=plan.backend,
        data=plan.data,
        widths=plan.widths,
        model=plan.problem.model,
        threads=plan.threads,
        runs=runs,
    )
    try:
        output.write(record)
        draw(output.picture, plan.title, runs)
    except OSError as error:
        typer.echo(f"curvature train: the results could not be written: {error}", err=True)
        raise typer.Exit(1) from error
    console.print(f"\nwrote {output.picture} and {output.record}")
