"""The one error the tools show to people."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable


class QuickstartError(Exception):
    """Something the user can act on; its text is one short paragraph that says what is wrong and what to do."""


EXIT_CODE = 2


def reporting(command: Callable[[], int | None]) -> int:
    """Run a command for the shell and return its exit code.

    A QuickstartError is printed as a paragraph (2). Ctrl-C and a request to terminate unwind the command, so that everything it
    opened is closed (130 and 143).
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return command() or 0
    except QuickstartError as error:
        print(f"\n{error}", file=sys.stderr)
        return EXIT_CODE
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def _terminate(number: int, frame: object) -> None:
    sys.exit(128 + number)
