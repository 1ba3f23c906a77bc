"""How results show themselves: tables as text and HTML, drawings as SVG."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Sequence
from typing import Any


class Svg(str):
    """A drawing: the text of an SVG document, which a notebook shows as a picture."""

    def _repr_svg_(self) -> str:
        return str(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the drawing to a file."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(self)


def text_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; numbers are aligned right."""
    table = [list(heading), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(heading))]
    right = [all(_is_number(row[i]) for row in rows) and bool(rows) for i in range(len(heading))]
    lines = []
    for row in table:
        cells = [cell.rjust(width) if r else cell.ljust(width) for cell, width, r in zip(row, widths, right)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def html_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + line(heading, "th") + "".join(line(row, "td") for row in rows) + "</table>"


def _is_number(cell: str) -> bool:
    return cell == "" or cell.rstrip(" %").replace(",", "").replace(".", "", 1).lstrip("-").isdigit()


def bytes_text(count: int) -> str:
    """1.52 MiB"""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


class Record:
    """A dataclass that shows itself as a table of its fields."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain numbers, texts, lists and dicts, ready for JSON."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    def _rows(self) -> list[tuple[str, str]]:
        return [(key, _short(value)) for key, value in self.to_dict().items()]

    def __str__(self) -> str:
        rows = self._rows()
        width = max(len(key) for key, _ in rows)
        return "\n".join(f"{key.ljust(width)}  {value}" for key, value in rows)

    def _repr_html_(self) -> str:
        return html_table(["", ""], self._rows())


def _short(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and len(value) > 12:
        return f"{', '.join(_short(v) for v in value[:10])}, ... ({len(value)} in all)"
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(v)}" for key, v in value.items())
    return str(value)
