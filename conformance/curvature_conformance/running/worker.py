"""A worker process of the suite: ``python -m curvature_conformance.running.worker``, driven by ``processes``.

It reads a ``Work`` from its standard input, answers with the fingerprint of its plan, and then runs the trials whose
positions it is sent, line by line, until its input ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Any, TextIO

from ..subject import subject_of
from .runner import plan
from .work import Work, fingerprint


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it keeps what is done and ends its workers
    orders, answers = _private_input(), _private_output()
    work = Work.of_dict(json.loads(orders.readline()))
    subject = subject_of(work.subject, backend=work.backend, device=work.device, dtype=work.dtype)
    trials = plan(subject, selection=work.selection)
    _say(answers, ready=fingerprint(trials))
    for line in orders:
        for position in json.loads(line):
            _say(answers, started=position)
            _say(answers, position=position, outcome=asdict(trials[position].run()))


def _private_input() -> TextIO:
    """The pipe from the parent; what asks for input finds that there is none, and does not take the parent's orders."""
    orders = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return orders


def _private_output() -> TextIO:
    """The pipe to the parent; what anything prints goes to standard error instead, so that it cannot garble the answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _say(answers: TextIO, **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
