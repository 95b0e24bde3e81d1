"""The natural gradient as an Optax gradient transformation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import curvature as cv

from .compiled_step import CompiledStep, Rules
from .metric import Metric
from .step_rules import as_acceleration, as_damping, as_every, as_step_size, as_trust_region, in_range
from .trainee import Trainee

if TYPE_CHECKING:
    import optax

Tree = Any


def natural_gradient(
    model: Any,
    likelihood: cv.Likelihood,
    *,
    approximation: Any = "kfac",
    fisher: Any = "auto",
    damping: Any = None,
    learning_rate: Any = "smoothed",
    momentum: float = 0.0,
    trust_region: Any = None,
    acceleration: Any = None,
    l2: float = 0.0,
    decay: float = 0.95,
    statistics_every: int = 1,
    refresh_every: int = 1,
    seed: int = 0,
    data: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """δ = -α (F̂ + (λ + l2) I)⁻¹ ∇h + μ δ_prev of h = L + (l2/2) ‖θ‖², as a gradient transformation of Optax.

    Two lines of a loop change::

        optimizer = curvature_jax.natural_gradient(apply, curvature.Categorical())
        ...
        updates, state = optimizer.update(grads, state, params, data=(x, y))

    The gradients that come in are those of L at ``params`` on ``data``, L the mean of -log p(y | apply(params, x)); the updates
    that go out are added to the parameters, by ``optax.apply_updates``. A step is one compiled program, whether or not the
    caller compiles: ``update`` works inside of ``jax.jit``, ``jax.lax.scan`` and ``jax.vmap`` (over runs, with a leading axis
    of parameters and state). It is the step of ``curvature.NaturalGradient`` with the same rules.

    In ``optax.chain``, what stands before it changes ∇L (clipping, for example), and what stands after it changes δ without
    the rules knowing: momentum and the damping rule go by the δ that this transformation gave. δ is a descent already; to have
    ``optax.scale_by_learning_rate`` after it, which turns the sign, take ``scale_by_natural_gradient``.

    Nothing is raised for values inside of a compiled program. Where the objective, its gradient or the step is NaN or infinite
    the update is zero, the statistics stay as they were, Levenberg and Marquardt's rule raises λ (a number or a schedule stays),
    and ``state.failures``, which counts such steps, goes up: look at it now and then. Parameters that are themselves NaN stay so.
    Shapes, dtypes and what cannot be traced are errors at once; labels out of range are not looked for.

    Args:
        model: ``apply(params, x) -> outputs``, a ``curvature.Model``, or a Flax or Equinox module, whose parameters are trained
            as nested dictionaries (``curvature.as_model(module).params``) or as ``nnx.split(module, nnx.Param, ...)`` and
            ``equinox.partition(module, equinox.is_inexact_array)`` give them.
        likelihood: p(y | outputs).
        approximation: name, class or instance of the approximation F̂.
        fisher: which matrix is approximated: "exact", "monte-carlo" (drawn anew in each step from a key in the state),
            "empirical", "ggn", a function problem -> matrix, or "auto": exact up to 32 columns of the output factor, else Monte
            Carlo.
        damping: λ: a number, an Optax schedule, or ``curvature.LevenbergMarquardt(initial)``; by default with
            floor = 0.1. With initial = None, which is the default too, it begins at a quarter of the mean diagonal entry of F̂.
        learning_rate: α: a number, an Optax schedule, "quadratic" (``curvature.QuadraticModel``): α and μ that minimise the
            exact quadratic model for the gradients that come in, or "smoothed" (``curvature.optim.SmoothedModel``): those
            averaged over steps, shorter where steps overshoot, for minibatches.
        momentum: μ where α is given.
        trust_region: upper bound of ½ δᵀFδ, or ``curvature.KLTrustRegion``, ``curvature.optim.FisherNorm`` or
            ``curvature.optim.NormConstraint``.
        acceleration: ``curvature.GeodesicAcceleration()``, or None.
        l2: weight of (1/2) ‖θ‖² in the objective; the gradients that come in are without it.
        decay: ε of the moving average of the statistics, min(1 - 1/k, decay) at their k-th update.
        statistics_every: steps between updates of the statistics.
        refresh_every: steps between decompositions of them, which the state then carries.
        seed: of the Monte Carlo Fisher's draws. For runs with other draws under ``jax.vmap``, give ``state.key`` an axis.
        data: an example batch, or ``jax.ShapeDtypeStruct``s of one: then ``init`` gives the state the structure that it has
            after the first update, as ``jax.lax.scan`` demands. Without it the statistics are None until then.

    Returns:
        ``optax.GradientTransformationExtraArgs``. ``init(params)`` gives a ``NaturalGradientState``, a pytree of arrays, whose
        ``last`` reports on the last step. ``update(grads, state, params, *, data, value=None)`` takes L as ``value`` where it is
        known, and otherwise computes it.

    Raises:
        DataError: for a number out of its range.
        UnsupportedError: for a rule that decides in Python, naming those that work here; if Optax is not installed.

    Sources: Amari (1998); Martens and Grosse (2015); Transtrum and Sethna (2012).
    """
    step = _step(
        model,
        likelihood,
        approximation=approximation,
        fisher=fisher,
        damping=damping,
        learning_rate=learning_rate,
        momentum=momentum,
        trust_region=trust_region,
        acceleration=acceleration,
        l2=l2,
        decay=decay,
        statistics_every=statistics_every,
        refresh_every=refresh_every,
        seed=seed,
        data=data,
    )
    return _optax().GradientTransformationExtraArgs(step.init, step.update)


def scale_by_natural_gradient(
    model: Any,
    likelihood: cv.Likelihood,
    *,
    approximation: Any = "kfac",
    fisher: Any = "auto",
    damping: Any = 1e-3,
    l2: float = 0.0,
    decay: float = 0.95,
    statistics_every: int = 1,
    refresh_every: int = 1,
    seed: int = 0,
    data: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """(F̂ + (λ + l2) I)⁻¹ (∇L + l2 θ), an ascent, as ``optax.scale_by_adam`` and its like give it.

    For chains that choose the step themselves::

        optax.chain(scale_by_natural_gradient(apply, curvature.Categorical()), optax.scale_by_learning_rate(0.1))

    Arguments, state and ``update(grads, state, params, *, data, value=None)`` are those of ``natural_gradient``; a damping rule
    judges the full step.

    Raises:
        DataError, UnsupportedError: as ``natural_gradient``.
    """
    step = _step(
        model,
        likelihood,
        approximation=approximation,
        fisher=fisher,
        damping=damping,
        l2=l2,
        decay=decay,
        learning_rate=1.0,
        statistics_every=statistics_every,
        refresh_every=refresh_every,
        seed=seed,
        data=data,
    )

    def update(updates: Tree, state: Any, params: Tree = None, **extra: Any) -> tuple[Tree, Any]:
        import jax

        descent, following = step.update(updates, state, params, **extra)
        return jax.tree_util.tree_map(lambda a: -a, descent), following

    return _optax().GradientTransformationExtraArgs(step.init, update)


def _step(
    model: Any,
    likelihood: cv.Likelihood,
    *,
    approximation: Any,
    fisher: Any,
    damping: Any,
    learning_rate: Any,
    l2: Any,
    decay: Any,
    statistics_every: Any,
    refresh_every: Any,
    seed: Any,
    data: Any,
    momentum: Any = 0.0,
    trust_region: Any = None,
    acceleration: Any = None,
) -> CompiledStep:
    _optax()
    if not (isinstance(seed, int) and seed >= 0):
        raise cv.DataError(f"seed is an integer ≥ 0, got {seed!r}")
    trainee = Trainee(model, likelihood)
    metric = Metric(
        trainee,
        approximation,
        fisher,
        decay=in_range("decay", decay, 1.0),
        statistics_every=as_every("statistics_every", statistics_every),
        refresh_every=as_every("refresh_every", refresh_every),
    )
    rules = Rules(
        damping=as_damping(cv.LevenbergMarquardt(initial=None, floor=0.1) if damping is None else damping),
        step_size=as_step_size(learning_rate, momentum),
        trust_region=as_trust_region(trust_region),
        acceleration=as_acceleration(acceleration),
        l2=in_range("l2", l2, float("inf")),
    )
    return CompiledStep(trainee, metric, rules, seed, data)


def _optax() -> Any:
    try:
        import optax
    except ImportError as error:
        raise cv.UnsupportedError("natural_gradient needs Optax, which is not installed; run: pip install optax") from error
    return optax
