"""Place: settle what a new archive's name settles, and make routes of the rest.

Source: docs/spec/placement.md, sections 3 and 5; SPEC F4-F8; docs/decisions/0025.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datamover.codec.codec import Codec
from datamover.errors import RuleError
from datamover.mover.rules import rules_of
from datamover.placement.decision import Placement
from datamover.placement.route import Routing, routing

if TYPE_CHECKING:
    from datamover.mover.depot import Depot
    from datamover.placement.decision import Command
    from datamover.placement.rule import Rules

__all__ = ["Placed", "place", "placement_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What was decided for an archive before its first file was seen.

    Attributes:
        codecs: One for each route.
        routing: Which route a file takes.
        chunk_size: Bytes after which a chunk file is closed.
        cipher: What seals its blocks, or "none".
    """

    codecs: tuple[Codec, ...]
    routing: Routing
    chunk_size: int
    cipher: str


def place(depot: Depot, *, rules: Rules | None, command: Command, archive: str) -> Placed:
    """Decide for a new archive.

    Args:
        depot: The store that it goes to.
        rules: What decides where the command says nothing; None: the store's rules.
        command: What the command says.
        archive: The archive's name.

    Raises:
        UsageError: The command names no codec that there is.
        RuleError: The rules make no sense, or want a cipher in a store that is not encrypted.
        PeerError: The machine that has the store refuses.
    """
    placement = placement_for(depot, rules=rules, command=command, archive=archive)
    found, codecs = routing(placement, time.time_ns())
    return Placed(
        codecs=tuple(map(Codec.parse, codecs)),
        routing=found,
        chunk_size=int(placement.decide("chunk_size").value),
        cipher=str(placement.decide("cipher").value),
    )


def placement_for(
    depot: Depot, *, rules: Rules | None, command: Command, archive: str
) -> Placement:
    """Return what decides for an archive of this name in this store; see ``place``."""
    rules = rules_of(depot) if rules is None else rules
    placement = Placement(rules, command=command, archive=archive, cipher=depot.description.cipher)
    rule = placement.decide("cipher").rule
    if rule is not None and not depot.description.is_encrypted:
        reason = f"{rule.name} chooses a cipher, and {depot.place} is not encrypted"
        raise RuleError(file=rules.file, line=rule.line, reason=reason)
    return placement
