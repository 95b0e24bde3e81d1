"""Everything that is created along the way is created on the device of the arrays."""

from __future__ import annotations

import array_api_strict
import numpy as np

from curvature import autodiff
from curvature.backend import ArrayBackend, namespace


def test_derivatives_and_uses_stay_on_a_device_that_is_not_the_default():
    device = array_api_strict.__array_namespace_info__().devices()[1]
    be = ArrayBackend("strict", array_api_strict, device=device)
    rng = np.random.default_rng(0)
    params = [be.asarray(rng.normal(size=(3, 3))), be.asarray(rng.normal(size=3))]
    x = be.asarray(rng.normal(size=(4, 3)))
    data, columns = autodiff.lift(x), be.asarray([0, 2, 2])

    def loss(p):
        xp = namespace(p[0])
        h = xp.take(xp.maximum(data @ p[0] + p[1], 0.0), columns, axis=1)[:, 1:]
        h = xp.where(h > 0, xp.logaddexp(h, 0.0), 0.0)
        return xp.sum(h) + xp.prod(p[1]) + xp.linalg.slogdet(p[0])[1] + xp.cumulative_sum(p[1], include_initial=True)[2]

    value, gradient = autodiff.value_and_gradient(loss, params)
    curved = autodiff.hvp(loss, params, params)
    uses = be.parameter_uses(lambda p, x: x @ p[0] + p[1], params, x)
    cotangents = uses.cotangents(be.asarray(np.ones((2, 4, 3))))
    assert {a.device for a in [value, *gradient, *curved, *cotangents, uses.outputs]} == {device}
