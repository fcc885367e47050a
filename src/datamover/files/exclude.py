"""Excludes: patterns of names that a backup leaves out.

    *.o           any file or directory of that name, anywhere
    cache/tmp     these last components of a path, anywhere
    /home/*/tmp   a path as it is on the source machine

``*`` matches any run of characters, ``/`` included, as in fnmatch(3) without FNM_PATHNAME.

Source: SPEC U21.
"""

from __future__ import annotations

import fnmatch
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Excludes"]


class Excludes:
    """Compiled patterns; false when there are none."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        given = [os.fsencode(one).rstrip(b"/") for one in patterns]
        given = [one for one in given if one]
        self._names = _compiled([one for one in given if b"/" not in one])
        self._paths = _compiled(
            [one if one.startswith(b"/") else b"*/" + one for one in given if b"/" in one]
        )

    def __bool__(self) -> bool:
        return self._names is not None or self._paths is not None

    def match(self, directory: bytes, name: bytes) -> bool:
        """Say whether the file ``name`` of the source's ``directory`` is left out."""
        if self._names is not None and self._names.match(name):
            return True
        return (
            self._paths is not None and self._paths.match(b"%b/%b" % (directory, name)) is not None
        )


def _compiled(patterns: list[bytes]) -> re.Pattern[bytes] | None:
    if not patterns:
        return None
    # Bytes stand for themselves in Latin-1, so any name can be matched.
    joined = "|".join(fnmatch.translate(one.decode("latin-1")) for one in patterns)
    return re.compile(joined.encode("latin-1"))
