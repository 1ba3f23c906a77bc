"""Errors and warnings of the engine."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._convert import ConversionReport


class Error(Exception):
    """A request that the engine refused or could not carry out.

    The text is one line that names the file, the node or the tensor, what was expected and what was found.

    Attributes:
        code: the kind of failure: ``"invalid_argument"``, ``"invalid_model"``, ``"unsupported"``, ``"not_found"``,
            ``"io"``, ``"out_of_memory"``, ``"not_finite"`` or ``"internal"`` (a bug in the engine).
    """

    def __init__(self, message: str, code: str = "invalid_argument") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[Error], tuple[str, str]]:
        return type(self), (str(self), self.code)


class ConversionError(Error):
    """A file that cannot be converted.

    The text has one line for each cause; nothing was written.

    Attributes:
        report: what is known about the file, with all problems in ``report.problems``. None after unpickling.
    """

    def __init__(self, message: str, code: str = "invalid_model", report: ConversionReport | None = None) -> None:
        super().__init__(message, code)
        self.report = report


class EngineWarning(UserWarning):
    """Something that is allowed but may not be what was meant, such as a fallback to the CPU."""


def warn(text: str) -> None:
    # The level of whoever called the package is not known here; the text says what it is about.
    warnings.warn(text, EngineWarning, stacklevel=3)
