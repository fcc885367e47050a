"""Look at paths for another machine: what a copy must know of its two ends before it begins.

    copy.look   paths   -> found: the facts of each, in their order

Source: docs/spec/copy-pipes.md, "Looking"; docs/spec/control-protocol.md, section 7.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec

from datamover.errors import MalformedError
from datamover.files.found import Found

if TYPE_CHECKING:
    from datamover.wire.message import Plain

__all__ = ["LookService", "look_at"]

Permit = Callable[[str], tuple[str, str]]
"""Called with an absolute path before it is looked at; returns the arguments for ``Found.at``, and
raises what it refuses with."""


class _Paths(msgspec.Struct, frozen=True, kw_only=True):
    paths: Annotated[
        list[Annotated[bytes, msgspec.Meta(max_length=4096)]], msgspec.Meta(max_length=1000)
    ]


class LookService:
    """Answers for the paths of one conversation."""

    def __init__(self, permit: Permit) -> None:
        """Make a service.

        Args:
            permit: Asked for each path.
        """
        self._permit = permit

    def methods(self) -> dict[str, Callable[[Plain], Mapping[str, object]]]:
        """Return what it answers, by the name of the method."""
        return {"copy.look": self._look}

    def close(self) -> None:
        """It keeps nothing."""

    def _look(self, given: Plain) -> Mapping[str, object]:
        try:
            asked = msgspec.convert(given, _Paths, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise MalformedError(what="call", reason=str(error)) from None
        found = []
        for path in map(os.fsdecode, asked.paths):
            if "\0" in path:
                raise MalformedError(what="call", reason="a path holds a NUL")
            permitted = self._permit(os.path.abspath(path))  # noqa: PTH100 - text in any bytes
            found.append(Found.at(*permitted).facts())
        return {"found": found}


def look_at(answer: Mapping[str, object], paths: int) -> tuple[Found, ...]:
    """Read the answer to ``copy.look``.

    Args:
        answer: Its values.
        paths: How many were asked for.

    Raises:
        MalformedError: It is none.
    """
    found = answer.get("found")
    if not isinstance(found, list) or len(found) != paths:
        raise MalformedError(what="look", reason="not one answer for each path")
    return tuple(Found.of(one) for one in found if isinstance(one, dict))
