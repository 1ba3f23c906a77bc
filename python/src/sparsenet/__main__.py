"""The command line: ``python -m sparsenet`` is ``sparsenet``, ``python -m sparsenet convert`` is ``sparsenet-convert``."""

from __future__ import annotations

import os
import signal
import sys


def _be_a_program() -> None:
    # The commands deal with signals themselves; Python's own handler would only note them.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def main() -> None:
    """The program ``sparsenet``."""
    from . import _core

    if len(sys.argv) > 1 and sys.argv[1] == "convert":
        del sys.argv[1]
        convert_main()
    _be_a_program()
    sys.exit(_core.run_sparsenet([b"sparsenet", *map(os.fsencode, sys.argv[1:])]))


def convert_main() -> None:
    """The program ``sparsenet-convert``."""
    from . import _core

    _be_a_program()
    sys.exit(_core.run_sparsenet_convert([b"sparsenet-convert", *map(os.fsencode, sys.argv[1:])]))


if __name__ == "__main__":
    main()
