"""The namespace in which code about given arrays is written."""

from __future__ import annotations

from typing import Any

from ..autodiff.namespace import common_operations
from ..autodiff.traced import Traced


def namespace(*arrays: Any) -> Any:
    """The Array API namespace of one or several arrays of one library.

    If any of them is traced it is the traced namespace, whose functions can be differentiated. Python numbers and None
    are skipped.

    Raises:
        MixedBackendError: naming both, if the arrays are of two libraries.
        TypeError: if there is no array.
    """
    op = common_operations(*arrays)
    return op.ns if any(type(x) is Traced for x in arrays) else op.xp
