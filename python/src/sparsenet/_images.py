"""Images of all kinds become uint8 arrays, and these a network's input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import from_any
from ._errors import Error
from ._values import path


def _is_one(images: Any) -> bool:
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview)):
        return True
    return not isinstance(images, (list, tuple)) and not hasattr(images, "__array__") and hasattr(images, "convert")


def read_image(image: Any) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] or [H, W, 1] of a path, a file's bytes, an image of PIL, or an array."""
    if isinstance(image, (str, os.PathLike)):
        return _core.load_image(path(image, "image"))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _core.decode_image(bytes(image))
    if hasattr(image, "convert") and hasattr(image, "mode"):  # PIL
        if image.mode.startswith("I;16"):  # as from files: the upper byte
            return np.ascontiguousarray((np.asarray(image) >> 8).astype(np.uint8)[:, :, None])
        if image.mode in ("I", "F"):
            raise Error(f"image: expected pixels of 8 bits, found an image of PIL with mode {image.mode}")
        image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    array = from_any(np.asarray(image) if hasattr(image, "mode") else image)
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
    if _is_one(images):
        images = [images]
    if images is None or isinstance(images, dict):
        raise Error(f"images: expected images, found {type(images).__name__}")
    if isinstance(images, Iterator) or (isinstance(images, Iterable) and not hasattr(images, "__array__") and not hasattr(images, "__dlpack__") and not isinstance(images, (list, tuple, memoryview))):
        images = list(images)
    if not isinstance(images, (list, tuple)):
        array = from_any(images)
        if array.dtype == np.uint8 and array.ndim in (3, 4) and array.shape[-1] == 4 and 4 not in array.shape[:1]:
            array = array[..., :3]  # transparency is dropped, as from files
        if array.dtype == np.uint8 and array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
            raise Error(
                f"image: expected shape [H, W, 3] or [H, W, 1], found {list(array.shape)}; channels come last: "
                "x.transpose(1, 2, 0)"
            )
        if array.ndim == 3 and array.shape[2] not in (1, 3) and array.dtype == np.uint8:
            array = array[:, :, :, None]  # grey images
        if array.ndim == 4 and array.dtype == np.uint8:
            if array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
                raise Error(
                    f"images: expected uint8 [N, H, W, 3] or [N, H, W, 1], found {list(array.shape)}; channels come "
                    "last: x.transpose(0, 2, 3, 1)"
                )
            return _core.preprocess(core, np.ascontiguousarray(array))
        images = [array] if array.ndim in (2, 3) else list(array)
    if not images:
        shape = core.inputs[0][2]
        return np.empty((0, *shape[1:]), np.float32)
    prepared = []
    for index, image in enumerate(images):
        try:
            prepared.append(_core.preprocess(core, read_image(image)[None]))
        except Error as error:
            if len(images) == 1 or isinstance(image, (str, os.PathLike)):
                raise
            raise Error(f"image {index}: {error}", error.code) from None
    return np.concatenate(prepared) if len(prepared) > 1 else prepared[0]
