"""Find the placement rules of a backup: those of its store, or of a file that was named.

Source: docs/spec/placement.md, section 1; SPEC F4, F8.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from datamover.errors import RuleError
from datamover.placement.rule import FILE_NAME, SIZE_MAX, Rules

if TYPE_CHECKING:
    from datamover.mover.depot import Depot

__all__ = ["load_rules", "read_rule_text", "rules_of"]


def load_rules(path: str) -> Rules:
    """Read the rules of a file.

    Raises:
        RuleError: It is not there, cannot be read, or makes no sense.
    """
    text = read_rule_text(path)
    if text is None:
        raise RuleError(file=path, line=1, reason="no such file")
    return _parsed(text, path)


def rules_of(depot: Depot) -> Rules:
    """Return the rules of a store; none when it has no such file.

    Raises:
        RuleError: They cannot be read, or make no sense.
        PeerError: The machine that has the store refuses.
    """
    text = depot.rules()
    return Rules() if text is None else _parsed(text, f"{depot.place}/{FILE_NAME}")


def read_rule_text(path: str) -> str | None:
    """Return what a rule file says; None when there is none.

    Raises:
        RuleError: It cannot be read, is too long, or is no UTF-8.
    """
    try:
        with open(path, "rb", opener=_opened) as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode) or path == os.devnull
            data = file.read(SIZE_MAX + 1) if is_file else b""
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RuleError(file=path, line=1, reason=str(reason).lower()) from error
    if not is_file:
        raise RuleError(file=path, line=1, reason="not a file")
    if len(data) > SIZE_MAX:
        raise RuleError(file=path, line=1, reason=f"longer than {SIZE_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RuleError(file=path, line=line, reason="no UTF-8") from None


def _opened(path: str, flags: int) -> int:
    """Open without waiting: a FIFO of that name must hang nobody."""
    return os.open(path, flags | os.O_NONBLOCK)


def _parsed(text: str, file: str) -> Rules:
    # Imported late: most stores have no rules.
    from datamover.placement.rule_file import parse_rules  # noqa: PLC0415 - as above

    return parse_rules(text, file)
