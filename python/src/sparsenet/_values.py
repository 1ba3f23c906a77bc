"""Arguments become what the extension module takes, or an error that names them."""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from ._errors import Error


def whole(value: Any, name: str, least: int = -(2**63), most: int = 2**63 - 1) -> int:
    """A whole number, also one of NumPy's."""
    try:
        number = operator.index(value)
    except TypeError:
        raise Error(f"{name}: expected a whole number, found {value!r}") from None
    if not least <= number <= most:
        bounds = f"of at least {least}" if number < least else f"of at most {most}"
        raise Error(f"{name}: expected a whole number {bounds}, found {number}")
    return number


def real(value: Any, name: str) -> float:
    """A number that is not infinite, also one of NumPy's."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value):
        raise Error(f"{name}: expected a number, found {value!r}")
    return float(value)


def flag(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise Error(f"{name}: expected True or False, found {value!r}")
    return bool(value)


def text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Error(f"{name}: expected a text, found {value!r}")
    return value


def texts(value: Iterable[Any], name: str) -> list[str]:
    """Several texts; one alone is an error, because its letters cannot be meant."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise Error(f"{name}: expected a list of texts, found {value!r}")
    return [str(item) for item in value]


def encoded(value: str) -> bytes:
    """The bytes of a text that may come from a file's name."""
    return value.encode("utf-8", "surrogateescape")


def path(value: Any, name: str = "path") -> bytes:
    """The bytes of a path."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise Error(f"{name}: expected a path, found {value!r}")
    result = os.fsencode(value)
    if b"\0" in result:
        raise Error(f"{name}: expected a path, found one with a zero byte: {value!r}")
    return result
