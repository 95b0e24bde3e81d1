"""The standard error of a mean over leave-one-out values, which depend on each other.

Let T be the mean of m values t_i, value i being unbiased given all probes but the i-th: XTrace and its like. To take them
for independent gives, in expectation, Σ_K V_K / |K|, where the variance of T is Σ_K V_K over the sets K of probes that act
together (the decomposition of Hoeffding 1948): too little, by a factor of two where probes act in pairs. The jackknife of
T (Tukey 1958) gives Σ_K |K| V_K: too much (Efron and Stein 1981). Both hold to leading order in m. By Cauchy and Schwarz
the geometric mean of the two sums is at least the variance, and equal to it where all sets that matter are of one size:
it is what is used. (Epperly, Tropp and Webber 2024 use the first of the two.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

DEGENERATE = 1e-10
"""1 - (s_iᵀs_j)² below which two directions are one."""


def pair_weights(s: Any) -> tuple[Any, Any, Any]:
    """(p, q, p') with p s_i s_iᵀ + q (s_i s_jᵀ + s_j s_iᵀ) + p' s_j s_jᵀ the projector on span{s_i, s_j}: (m, m) each.

    For unit columns s_i. What is on the diagonals (i = j) means nothing.
    """
    inner = s.T @ s
    left = 1.0 - inner**2
    one = left < DEGENERATE
    scale = 1.0 / np.where(one, 1.0, left)
    return np.where(one, 1.0, scale), np.where(one, 0.0, -inner * scale), np.where(one, 0.0, scale)


def leave_out(base: Any, linear: Any, h: Any, w: Any, s: Any, n: int) -> tuple[Any, Any]:
    """The values t_i, (m,), and t_ij, (m, m), those of probe i without j too, of a quadratic form on what is left out.

    With Q x the part of ω_i within the basis that is kept, x = (I - P) w_i, and P the projector on s_i or on
    span{s_i, s_j}, t = tr (I - P) h + c (base_i - linear_iᵀ x + xᵀ h x), c = (n - dimension kept) / (n - ‖x‖²).

    Args:
        base: (m,).
        linear, w, s: (m, m), a column for each probe.
        h: (m, m), need not be symmetric.
    """
    m = len(base)
    both = h + h.T
    sw, sl, shw, shs = s.T @ w, s.T @ linear, s.T @ both @ w, s.T @ both @ s
    whole = base - np.sum(linear * w, axis=0) + np.sum(w * (h @ w), axis=0)
    size = np.sum(w * w, axis=0)

    def value(a: Any, b: Any, removed: Any, kept: int, i: Any, j: Any) -> Any:
        # x = w_i - a s_i - b s_j
        change = a * (sl[i, i] - shw[i, i]) + b * (sl[j, i] - shw[j, i])
        square = 0.5 * a * a * shs[i, i] + a * b * shs[i, j] + 0.5 * b * b * shs[j, j]
        left = n - (size[i] - a * sw[i, i] - b * sw[j, i])
        factor = (n - kept) / np.maximum(left, np.finfo(np.float64).tiny)
        return np.trace(h) - removed + factor * (whole[i] + change + square)

    i = np.arange(m)
    single = value(np.diagonal(sw), 0.0, 0.5 * np.diagonal(shs), m - 1, i, i)
    p, q, p_other = pair_weights(s)
    rows, columns = np.meshgrid(i, i, indexing="ij")
    own, other = np.diagonal(sw)[:, None], sw.T  # s_iᵀ w_i and s_jᵀ w_i at (i, j)
    a, b = p * own + q * other, q * own + p_other * other
    removed = 0.5 * (p * shs[rows, rows] + 2 * q * shs[rows, columns] + p_other * shs[columns, columns])
    return single, value(a, b, removed, m - 2, rows, columns)


def dependent_mean(single: Any, pairs: Any) -> tuple[float, float]:
    """The mean of t_i and its standard error, from t_i (m,) and t_ij (m, m)."""
    m = len(single)
    mean = float(np.mean(single))
    if m < 3:
        return mean, float(np.std(single, ddof=1) / np.sqrt(m)) if m > 1 else float("inf")
    without = (np.sum(pairs, axis=0) - np.diagonal(pairs)) / (m - 1)
    independent = np.sum((single - mean) ** 2) / (m * (m - 1))
    jackknife = np.sum((without - np.mean(without)) ** 2) * (m - 1) / m
    return mean, float((independent * jackknife) ** 0.25)
