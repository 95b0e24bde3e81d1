"""Recurrent cells and sequences, whose products torch hides in one function each: Elman, LSTM and GRU.

Source: Hochreiter and Schmidhuber (1997); Cho et al. (2014), in the form that ``torch.nn`` documents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Maybe = Tensor | None
State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]
"""From W_i x + b_i, W_h h + b_h and the state to the next state, whose first part is h."""


def _elman(activation: Callable[[Tensor], Tensor], x: Tensor, h: Tensor, state: State) -> State:
    return (activation(x + h),)


def _lstm(x: Tensor, h: Tensor, state: State) -> State:
    i, f, g, o = (x + h).chunk(4, -1)
    cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def _gru(x: Tensor, h: Tensor, state: State) -> State:
    (r_x, z_x, n_x), (r_h, z_h, n_h) = x.chunk(3, -1), h.chunk(3, -1)
    z = torch.sigmoid(z_x + z_h)
    new = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
    return (new + z * (state[0] - new),)


_STEPS: Mapping[str, Step] = {
    "rnn_tanh": partial(_elman, torch.tanh),
    "rnn_relu": partial(_elman, torch.relu),
    "lstm": _lstm,
    "gru": _gru,
}


def _cell(step: Step) -> Callable[..., Any]:
    def cell(input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Maybe = None, b_hh: Maybe = None) -> Any:
        state = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
        new = step(F.linear(input, w_ih, b_ih), F.linear(state[0], w_hh, b_hh), state)
        return new if len(new) > 1 else new[0]

    return cell


def _sequence(step: Step) -> Callable[..., Any]:
    def sequence(
        input: Tensor,
        hx: Any,
        params: Any,
        has_biases: Any,
        num_layers: Any,
        dropout: Any,
        train: Any,
        bidirectional: Any,
        batch_first: Any = None,
    ) -> Any:
        states = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
        if batch_first is None or input.ndim != 3 or not states[0].is_floating_point():
            return NotImplemented  # packed sequences have no axis of time
        directions, width = 2 if bidirectional else 1, 4 if has_biases else 2
        if (train and dropout > 0) or len(params) != num_layers * directions * width:
            return NotImplemented  # random, or with projections of the state
        x = input if batch_first else input.transpose(0, 1)
        last: list[State] = []
        for layer in range(num_layers):
            outputs = []
            for direction in range(directions):
                place = layer * directions + direction
                weights = params[place * width : (place + 1) * width]
                ys, state = _run(step, x, tuple(s[place] for s in states), weights, direction == 1)
                outputs.append(ys)
                last.append(state)
            x = outputs[0] if directions == 1 else torch.cat(outputs, dim=-1)
        return (x if batch_first else x.transpose(0, 1), *(torch.stack(parts) for parts in zip(*last, strict=True)))

    return sequence


def _run(step: Step, x: Tensor, state: State, weights: Sequence[Tensor], backwards: bool) -> tuple[Tensor, State]:
    """One layer in one direction over (N, T, d)."""
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:] or (None, None)
    inputs = F.linear(x, w_ih, b_ih)
    outputs = []
    times = range(x.shape[1])
    for t in reversed(times) if backwards else times:
        state = step(inputs[:, t], F.linear(state[0], w_hh, b_hh), state)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs, dim=1), state


CELLS: Mapping[Any, Callable[..., Any]] = {getattr(torch, f"{name}_cell"): _cell(step) for name, step in _STEPS.items()}
"""``torch.lstm_cell`` and its like."""

SEQUENCES: Mapping[Any, Callable[..., Any]] = {getattr(torch, name): _sequence(step) for name, step in _STEPS.items()}
"""``torch.lstm`` and its like, for whole layers."""
