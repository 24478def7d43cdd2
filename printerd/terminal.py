"""What others wrote is shown on a terminal and in the log as text: it commands neither.

One rule: titles, users, names and messages come from whoever prints or delivers. Whatever of them could move the
cursor, turn the reading order or begin a line of its own is written as JSON would escape it.
"""

from __future__ import annotations

import re
import sys

from printerd.errors import Failure

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters (ECMA-48) but tab and newline, line separators, and what turns the reading order (UAX 9)."""


def plain(text: str) -> str:
    r"""Text without commands to a terminal: ESC is shown as ``\u001b``. What was JSON means the same as before."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def refused(failure: Failure) -> int:
    """Tell a failure on standard error, in its three short lines; the exit code of its class."""
    print(*map(plain, failure.lines()), sep="\n", file=sys.stderr, flush=True)
    return failure.exit_code
