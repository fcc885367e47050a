"""Times that people type: `90s`, `30m`, `1h`, `2d`.

Source: docs/reference/cli.md.
"""

from __future__ import annotations

import re
from typing import Final

from datamover.errors import UsageError

__all__ = ["parse_duration"]

_TEXT: Final = re.compile(r"(\d{1,9})(s|m|h|d)", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> int:
    """Return the seconds.

    Raises:
        UsageError: It is no duration.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise UsageError(reason=f"not a duration: {text[:40]!r}, use 90s, 30m, 1h or 2d")
    return int(found[1]) * _UNITS[found[2]]
