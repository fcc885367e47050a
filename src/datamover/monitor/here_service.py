"""Answer for the pipes of this machine, wherever they are supervised.

    here.status   pipe ("" for all)   -> a part for each pipe
    here.stop     pipe, by            -> its whole name
    here.limit    pipe, bytes_per_s   -> its whole name
    here.addresses                    -> where this machine is reached

Source: docs/spec/control-protocol.md, section 6; SPEC C2, C15, C17.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec

from datamover.errors import MalformedError
from datamover.link.interfaces import interfaces
from datamover.monitor.here import Here

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from datamover.monitor.permit import Permit
    from datamover.monitor.worker import Method
    from datamover.wire.message import Plain

__all__ = ["HereService"]

T = TypeVar("T")
_NAME: Final = msgspec.Meta(max_length=255)


class _Pipe(msgspec.Struct, frozen=True, kw_only=True):
    pipe: Annotated[str, _NAME] = ""


class _Stop(msgspec.Struct, frozen=True, kw_only=True):
    pipe: Annotated[str, _NAME]
    by: Annotated[str, _NAME] = "somebody"


class _Limit(msgspec.Struct, frozen=True, kw_only=True):
    pipe: Annotated[str, _NAME]
    bytes_per_s: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class HereService:
    """See ``worker.Service``."""

    def __init__(self, runtime: Path, permit: Permit) -> None:
        """Answer for a runtime folder.

        Args:
            runtime: The folder.
            permit: What the other side may do.
        """
        self._here = Here(runtime)
        self._permit = permit

    def methods(self) -> Mapping[str, Method]:
        """Return what it answers, by name."""
        return {
            "here.status": self._status,
            "here.stop": self._stop,
            "here.limit": self._limit,
            "here.addresses": self._addresses,
        }

    def close(self) -> None:
        """See ``worker.Service``."""

    def _addresses(self, _: Plain) -> Mapping[str, object]:
        """Whoever was let in may know where else this machine is reached."""
        return {"addresses": [str(one.address.ip) for one in interfaces()]}

    def _status(self, given: Plain) -> Iterator[Mapping[str, object]]:
        asked = _read(given, _Pipe)
        self._permit.see()
        found = self._here.accounts(asked.pipe)
        return ({"account": msgspec.to_builtins(one, builtin_types=(bytes,))} for one in found)

    def _stop(self, given: Plain) -> Mapping[str, object]:
        asked = _read(given, _Stop)
        self._permit.stop()
        return {"pipe": self._here.stop(asked.pipe, asked.by)}

    def _limit(self, given: Plain) -> Mapping[str, object]:
        asked = _read(given, _Limit)
        self._permit.stop()
        return {"pipe": self._here.set_limit(asked.pipe, asked.bytes_per_s)}


def _read(given: Plain, kind: type[T]) -> T:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise MalformedError(what="call", reason=str(error)) from None
