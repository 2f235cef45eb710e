"""Tensors and arrays → the base64 text of their bytes, little-endian, as the browser unpacks them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def array(values: Tensor, dtype: Any) -> NDArray[Any]:
    """A tensor's values on the CPU, as this NumPy dtype."""
    found: NDArray[Any] = values.detach().cpu().numpy().astype(dtype)
    return found


def packed(values: NDArray[Any]) -> str:
    """The array's bytes in base64."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(np.ascontiguousarray(little).tobytes()).decode("ascii")
