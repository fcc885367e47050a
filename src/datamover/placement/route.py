"""Routes: the outcomes that there can be for files of one archive, and which one is a file's.

``Routing`` is a setting of a stage: plain values, made where the rules were read.

Source: docs/spec/placement.md, section 5; docs/decisions/0025-a-store-has-a-home-and-media.md.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import MalformedError
from datamover.placement.matching import Facts, Matcher
from datamover.placement.rule import Conditions
from datamover.wire.tag import Extension, ExtensionId

if TYPE_CHECKING:
    from collections.abc import Callable

    from datamover.placement.decision import Placement
    from datamover.wire.tag import TagHeader

__all__ = ["Fork", "Router", "Routing", "route_of", "routing", "with_route"]

_NUMBER: Final = struct.Struct("<H")


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """Where files go for which some conditions hold."""

    when: Conditions
    route: int


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """Which route each file takes: the first fork whose conditions hold, else route 0.

    Attributes:
        forks: In the order of the rules.
        now_ns: When the backup began; ages are counted from there.
    """

    forks: tuple[Fork, ...] = ()
    now_ns: int = 0


def routing(placement: Placement, now_ns: int) -> tuple[Routing, tuple[str, ...]]:
    """Return the forks that the rules make, and the codec of each route."""
    codecs = [str(placement.decide("codec").value)]
    forks = []
    for rule in placement.for_files("codec"):
        codec = str(rule.codec)
        if codec not in codecs:
            codecs.append(codec)
        forks.append(Fork(when=rule.when, route=codecs.index(codec)))
    # What goes by route 0 anyway is not worth asking for.
    while forks and not forks[-1].route:
        forks.pop()
    return Routing(forks=tuple(forks), now_ns=now_ns), tuple(codecs)


class Router:
    """Finds the route of one file after another; false when there is one route for all."""

    def __init__(self, given: Routing) -> None:
        self._forks = [(Matcher(fork.when), fork.route) for fork in given.forks]
        self._now = given.now_ns

    def __bool__(self) -> bool:
        return bool(self._forks)

    def route(
        self,
        directory: bytes,
        name: bytes,
        size: int,
        mtime_ns: int,
        head: Callable[[bytes, int], bytes | None],
    ) -> int:
        """Return the route of a file; the arguments are those of ``Facts``."""
        facts = Facts(directory, name, size=size, age_ns=self._now - mtime_ns, head=head)
        for matcher, route in self._forks:
            if matcher.match(facts):
                return route
        return 0


def with_route(route: int) -> tuple[Extension, ...]:
    """Return the public extensions of a block's tag that say its route."""
    if not route:
        return ()
    return (Extension(id=ExtensionId.ROUTE, value=_NUMBER.pack(route)),)


def route_of(tag: TagHeader, routes: int) -> int:
    """Return the route that a tag names; 0 when it names none.

    Raises:
        MalformedError: There is no such route among ``routes``.
    """
    for one in tag.public:
        if one.id == ExtensionId.ROUTE:
            number = _NUMBER.unpack(one.value)[0] if len(one.value) == _NUMBER.size else routes
            if number >= routes:
                raise MalformedError(what=f"block {tag.block}", reason="there is no such route")
            return int(number)
    return 0
