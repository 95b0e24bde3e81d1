"""array-api-strict as the backend strict of curvature.

This module is imported whenever plugins are looked for, so it does not import array_api_strict: the loader names what does.
"""

import curvature as cv


def owns(x):
    return type(x).__module__.partition(".")[0] == "array_api_strict"


@cv.hookimpl
def curvature_register_backends():
    return [cv.BackendSpec("strict", loader="strict.backend:Strict", requires=("array_api_strict",), owns=owns)]
