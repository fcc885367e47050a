"""Decide: who says what becomes of a file, and why.

    the command  >  the rules, in their order  >  [default]  >  the mover

Each key is decided by itself, by the first of these who says something of it.

Source: docs/spec/placement.md, section 3; SPEC F4, F7, F8.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.placement.matching import Matcher
from datamover.placement.rule import Rule, Rules
from datamover.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datamover.placement.matching import Facts

__all__ = ["CHUNK_SIZE", "CODEC", "Command", "Placement", "Settled"]

CODEC: Final = "zstd-1"
"""What the mover compresses with when nobody says otherwise."""

CHUNK_SIZE: Final = 64 * MIB
"""Bytes of a chunk file when nobody says otherwise."""

Value = str | int


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What the command itself says; None where it says nothing."""

    codec: str | None = None
    chunk_size: int | None = None


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was decided.

    Attributes:
        value: What.
        by: "command", the name of a rule, "default", or "mover".
        rule: That rule; None when no rule decided.
    """

    value: Value
    by: str
    rule: Rule | None = None


class Placement:
    """Decides for the files of one archive.

    Args:
        rules: The rules of a file, or none.
        command: What the command says.
        archive: The archive's name.
        cipher: What the store seals with, or "none".
    """

    def __init__(
        self, rules: Rules, *, command: Command, archive: str = "", cipher: str = "none"
    ) -> None:
        self._command: Mapping[str, Value | None] = {
            "codec": command.codec,
            "chunk_size": command.chunk_size,
        }
        self._mover: Mapping[str, Value] = {
            "codec": CODEC,
            "chunk_size": CHUNK_SIZE,
            "cipher": cipher,
        }
        self._rules = [(rule, Matcher(rule.when)) for rule in rules.rules if _is_for(rule, archive)]

    def decide(self, key: str, facts: Facts | None = None) -> Settled:
        """Decide one thing.

        Args:
            key: "codec", "chunk_size" or "cipher".
            facts: Of the file; None for what is decided for the archive, and for what of a file's
                decisions holds when no rule with conditions on files matches.
        """
        given = self._command.get(key)
        if given is not None:
            return Settled(value=given, by="command")
        for rule, matcher in self._rules:
            value: Value | None = getattr(rule, key)
            if value is None:
                continue
            if matcher.match(facts) if facts else not rule.when.names_a_file:
                return Settled(value=value, by=rule.name, rule=rule)
        return Settled(value=self._mover[key], by="mover")

    def for_files(self, key: str) -> list[Rule]:
        """Return the rules that decide ``key`` file by file, up to the first that always holds."""
        if self._command.get(key) is not None:
            return []
        found: list[Rule] = []
        for rule, _ in self._rules:
            if getattr(rule, key) is None:
                continue
            if not rule.when.names_a_file:
                break
            # The archive's name was asked for: what travels to the scan is about files alone.
            found.append(
                msgspec.structs.replace(rule, when=msgspec.structs.replace(rule.when, archive=()))
            )
        return found


def _is_for(rule: Rule, archive: str) -> bool:
    patterns = rule.when.archive
    return not patterns or any(fnmatch.fnmatchcase(archive, pattern) for pattern in patterns)
