"""Numbers and names as people write them: sizes, rates, durations, shares, paths.

Decimal units: MB is 10^6 bytes, as drives and networks are sold.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

__all__ = [
    "bar",
    "count_text",
    "duration_text",
    "printable",
    "rate_text",
    "readable",
    "size_text",
    "time_text",
]

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_THOUSAND: Final = 1000
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def size_text(size: float) -> str:
    """Return three significant digits and a unit: `999 B`, `1.23 kB`, `45.6 MB`, `789 GB`."""
    value, unit = float(size), 0
    # 999.5 would be rounded to a four-digit 1000.
    while value >= _THOUSAND - 0.5 and unit + 1 < len(_UNITS):
        value, unit = value / _THOUSAND, unit + 1
    digits = 0 if unit == 0 else max(0, 3 - len(str(int(value))))
    return f"{value:.{digits}f} {_UNITS[unit]}"


def rate_text(bytes_per_second: float) -> str:
    """Return a rate: `590 MB/s`."""
    return f"{size_text(bytes_per_second)}/s"


def count_text(count: int) -> str:
    """Return a whole number with its thousands apart: `12,345`."""
    return f"{count:,}"


def duration_text(seconds: float) -> str:
    """Return a duration as a clock shows it: `0:04`, `12:00`, `1:02:03`."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_text(nanoseconds: int) -> str:
    """Return a time in UTC, to the second: `2026-11-22 10:13:00Z`."""
    try:
        moment = datetime.fromtimestamp(nanoseconds // 10**9, tz=UTC)
    except (OverflowError, ValueError, OSError):
        # A file may claim any time at all; a listing must survive it.
        return f"@{nanoseconds // 10**9}"
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def bar(share: float, width: int, *, blocks: bool) -> str:
    """Draw a share (0 to 1) as a bar of ``width`` cells, in eighths where blocks can be shown."""
    filled = min(max(share, 0.0), 1.0) * width
    if not blocks:
        return ("#" * round(filled)).ljust(width)
    whole = int(filled)
    rest = _EIGHTHS[int((filled - whole) * 8)] if whole < width else ""
    return ("█" * whole + rest).ljust(width)


def printable(text: str) -> str:
    r"""Return a name that cannot steer a terminal, break a line, or be taken for another.

    Control characters, bytes that are no UTF-8 and backslashes become `\xNN`, `\uNNNN` or `\\`.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape, text))


def readable(text: str) -> str:
    """Return prose that cannot steer a terminal or break a line.

    Backslashes stay: the names in it may be escaped already.
    """
    if text.isprintable():
        return text
    return "".join(one if one == "\\" else _escape(one) for one in text)


def _escape(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - surrogateescape: a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()
