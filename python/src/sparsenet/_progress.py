"""How far long work is: a line that renews itself on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import sys
import time


class Progress:
    """Reports on stderr with rate and time left."""

    def __init__(self, activity: str, unit: str) -> None:
        self._activity, self._unit = activity, unit
        self._start = time.monotonic()
        self._first: int | None = None  # what was done when this began, after a resume
        self._shown = 0.0
        self._terminal = sys.stderr.isatty()
        self._open = False

    def update(self, done: int, total: int, text: str = "") -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = max(0, done - 1)
        pause = 0.1 if self._terminal else 10.0
        if now - self._shown < pause and done < total:
            return
        self._shown = now
        rate = (done - self._first) / max(1e-9, now - self._start)
        left = (total - done) / rate if rate > 0 else 0.0
        line = f"{self._activity}: {done:,} of {total:,} {self._unit}, {rate:.1f}/s, {_duration(left)} left"
        if text:
            line += f", {text}"
        if self._terminal:
            sys.stderr.write("\r\x1b[K" + line)
            self._open = True
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def message(self, text: str) -> None:
        """A line that stays."""
        self.close()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._open = False


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
