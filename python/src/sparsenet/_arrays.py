"""Arrays of any kind become arrays of NumPy that the engine can read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import Error
from ._values import whole


def from_any(value: Any) -> NDArray[Any]:
    """A NumPy array over `value`, without a copy where that is possible.

    NumPy arrays, what speaks the buffer protocol or DLPack (tensors of PyTorch, JAX and others in the memory of the
    CPU), and nested lists of numbers.
    """
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach"):  # a tensor of PyTorch may be part of a graph of gradients
        value = value.detach()
        for lazy in ("resolve_conj", "resolve_neg"):  # signs that are not yet in memory
            if hasattr(value, lazy):
                value = getattr(value, lazy)()
    if hasattr(value, "__dlpack__"):
        device = getattr(value, "device", None)
        if getattr(device, "type", "cpu") not in ("cpu", None):
            raise Error(
                f"expected an array in the memory of the CPU, found one on {device}; copy it there first (.cpu())"
            )
        try:
            return np.from_dlpack(value)
        except (TypeError, RuntimeError, BufferError, ValueError):
            pass  # a type that NumPy lacks, such as bfloat16, or an older protocol
    try:
        return np.asarray(value)
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:  # lists whose rows differ in length, bfloat16, sparse tensors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Error(f"expected an array: {reason}") from None


def as_array(value: Any, type_name: str, shape: tuple[int, ...], name: str, of_session: bool = False) -> NDArray[Any]:
    """What the extension module calls for an array that it cannot read as it is; an empty shape stands for any."""
    array = from_any(value)
    wanted = np.dtype(type_name)
    if array.dtype == object or array.dtype.kind not in "fiub":
        raise Error(f"'{name}': expected numbers ({wanted}), found {array.dtype}")
    if shape and array.shape != shape:
        hint = ""
        if of_session and array.ndim == len(shape) and array.shape[1:] == shape[1:] and len(array) > 0:
            hint = f"; a session with batch={array.shape[0]} takes it, and predict() any number of images"
        elif array.ndim > 1 and array.shape == shape[1:]:
            hint = "; x[None] adds the dimension of the batch"
        elif len(shape) == 4 and array.ndim == 4 and array.shape == (shape[0], *shape[2:], shape[1]):
            hint = "; the channels come first: x.transpose(0, 3, 1, 2)"
        raise Error(f"'{name}': expected shape {list(shape)}, found {list(array.shape)}{hint}")
    if array.dtype != wanted:
        _check_type(array, wanted, name)
    return np.ascontiguousarray(array, dtype=wanted)


def _check_type(array: NDArray[Any], wanted: np.dtype[Any], name: str) -> None:
    if wanted.kind == "f":
        # Whole numbers are most likely pixels, which the network expects normalised: to convert them would be a wrong
        # answer.
        if array.dtype.kind in "iub":
            raise Error(
                f"'{name}': expected {wanted}, found {array.dtype}; if these are pixels, preprocess() makes the "
                f"network's input of them; if they are its input, x.astype('{wanted}') says so"
            )
        return
    if array.dtype.kind not in "iub":
        raise Error(f"'{name}': expected integers ({wanted}), found {array.dtype}")
    if array.size == 0:
        return
    bounds = np.iinfo(wanted)
    least, most = int(array.min()), int(array.max())
    if least < bounds.min or most > bounds.max:
        found = least if least < bounds.min else most
        raise Error(f"'{name}': expected {wanted}, found {array.dtype} with the number {found}")


def byte_count(value: int | str | None, name: str) -> int:
    """Bytes as a number, or as text such as "64M", "1.5GiB" (powers of 1024, as everywhere in the command line)."""
    if value is None:
        return 0
    if isinstance(value, str):
        text = value.strip().upper()
        digits = text.rstrip("KMGTIB")
        scale = {"": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4}.get(
            text[len(digits) :].replace("IB", "").replace("B", "") or ""
        )
        try:
            if scale is None:
                raise ValueError
            value = int(float(digits) * 1024**scale)
        except (ValueError, OverflowError):
            raise Error(f"{name}: expected a number of bytes such as 1000000 or '64M', found {value!r}") from None
    return whole(value, name, 0)
