"""Images of all kinds become uint8 arrays, and these a network's input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import from_any
from ._errors import Error
from ._values import path


_ONE = (str, os.PathLike, bytes, bytearray, memoryview)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def _is_pil(value: Any) -> bool:
    return hasattr(value, "convert") and hasattr(value, "mode")


def read_image(image: Any) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] or [H, W, 1] of a path, a file's bytes, an image of PIL, or an array."""
    if isinstance(image, (str, os.PathLike)):
        return _core.load_image(path(image, "image"))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _core.decode_image(bytes(image))
    if _is_pil(image):
        if image.mode.startswith("I;16"):  # as from files: the upper byte
            return np.ascontiguousarray((np.asarray(image) >> 8).astype(np.uint8)[:, :, None])
        if image.mode in ("I", "F"):
            raise Error(f"image: expected pixels of 8 bits, found an image of PIL with mode {image.mode}")
        image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
        image = np.asarray(image)
    array = from_any(image)
    if array.dtype != np.uint8:
        raise Error(
            f"image: expected uint8 pixels of 0..255, found {array.dtype}; ready-made inputs (float32, normalised) go to "
            "predict() or to a session"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] == 4:
        array = array[:, :, :3]  # transparency is dropped, as from files
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        hint = "; channels come last: x.transpose(1, 2, 0)" if array.ndim == 3 and array.shape[0] in (1, 3) else ""
        raise Error(f"image: expected shape [H, W, 3], [H, W, 1] or [H, W], found {list(array.shape)}{hint}")
    return np.ascontiguousarray(array)


def prepare_images(core: _core.Model, images: Any) -> NDArray[np.float32]:
    """See Model.preprocess."""
    if isinstance(images, _ONE) or _is_pil(images):
        return _prepare_each(core, [images])
    if _is_array(images):
        return _prepare_array(core, from_any(images))
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise Error(f"images: expected images, found {type(images).__name__}")
    return _prepare_each(core, list(images))


def _prepare_array(core: _core.Model, array: NDArray[Any]) -> NDArray[np.float32]:
    """One image or several of the same size; the last dimension of 1, 3 or 4 tells channels from columns."""
    channels = array.ndim > 2 and array.shape[-1] in (1, 3, 4)
    if array.ndim == 2 or (array.ndim == 3 and channels):
        return _prepare_each(core, [array])
    if (
        array.dtype != np.uint8
        or array.ndim not in (3, 4)
        or (array.ndim == 4 and not channels)
        or 0 in array.shape[1:]
    ):
        hint = ""
        if array.dtype != np.uint8:
            hint = "; ready-made inputs (float32, normalised) go to predict() or to a session"
        elif array.ndim == 4 and array.shape[1] in (1, 3):
            hint = "; channels come last: x.transpose(0, 2, 3, 1)"
        raise Error(
            f"images: expected uint8 pixels [N, H, W, 3], [N, H, W, 1] or [N, H, W], found {array.dtype} "
            f"{list(array.shape)}{hint}"
        )
    if array.ndim == 3:
        if array.shape[0] in (1, 3):  # most likely one image, which would become several
            raise Error(
                f"image: expected shape [H, W, 3] or [H, W, 1], found {list(array.shape)}; channels come last: "
                "x.transpose(1, 2, 0); of grey images, x[..., None] says that there are several"
            )
        array = array[..., None]
    if array.shape[3] == 4:
        array = array[..., :3]  # transparency is dropped, as from files
    return _core.preprocess(core, np.ascontiguousarray(array))


def _prepare_each(core: _core.Model, images: list[Any]) -> NDArray[np.float32]:
    if not images:
        return np.empty((0, *core.inputs[0][2][1:]), np.float32)
    prepared = []
    for index, image in enumerate(images):
        try:
            prepared.append(_core.preprocess(core, read_image(image)[None]))
        except Error as error:
            if len(images) == 1 or isinstance(image, (str, os.PathLike)):
                raise
            raise Error(f"image {index}: {error}", error.code) from None
    return np.concatenate(prepared)
