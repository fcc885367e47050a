"""Rule: what must be so, and what is decided then; plain values, as stages are given them.

Source: docs/spec/placement.md, sections 2 and 3; SPEC F4, F8.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["FILE_NAME", "SIZE_MAX", "Conditions", "Rule", "Rules"]

FILE_NAME: Final = "placement.toml"
"""What the rule file is called in a store's home."""

SIZE_MAX: Final = 64 * 1024
"""Bytes of a rule file at most."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold of a file, all of it; of each list one member.

    Attributes:
        content: Patterns of content types.
        path: Patterns of paths, as ``datamover.files.exclude`` reads them.
        size_at_least: Bytes.
        size_below: Bytes.
        age_at_least: Seconds since the file's data was changed, when the backup begins.
        age_below: Seconds.
        archive: Patterns of the archive's name.
    """

    content: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    size_at_least: int | None = None
    size_below: int | None = None
    age_at_least: int | None = None
    age_below: int | None = None
    archive: tuple[str, ...] = ()

    @property
    def names_a_file(self) -> bool:
        """Whether they can hold for one file of an archive, and not for another."""
        return bool(self.content or self.path) or any(
            one is not None
            for one in (self.size_at_least, self.size_below, self.age_at_least, self.age_below)
        )


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of a file; what it does not decide is None.

    Attributes:
        name: What a person calls it, or its place: "rule 2"; "default" for the last one.
        line: Where it begins in its file.
        when: When it holds.
        codec: How a file's data is compressed, as ``datamover.codec.codec`` reads it.
        chunk_size: Bytes after which a chunk file is closed; for the archive.
        cipher: What seals blocks; for the archive.
    """

    name: str
    line: int
    when: Conditions = Conditions()
    codec: str | None = None
    chunk_size: int | None = None
    cipher: str | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one file, in order; the default, if there is one, is the last.

    Attributes:
        file: What the file is called in messages.
        rules: The first that matches and decides a thing decides it.
    """

    file: str = ""
    rules: tuple[Rule, ...] = ()
