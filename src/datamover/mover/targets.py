"""Targets: what `copy SRC... DST` calls each source at its destination.

    copy a b       b is a folder          b/a
    copy a b       b is not there         b, like a
    copy a/ b      trailing slash         b, with what is in a
    copy f g       files                  g, like f
    copy f b/      trailing slash         b/f
    copy a f b     several                b/a, b/f; b is made when it is not there

Pure: the rules know paths as they were typed, and what ``Found`` says is there, on this machine or
on another.

Source: docs/guides/copy.md, "Names"; cp(1), rsync(1).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datamover.errors import UsageError
from datamover.files.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.files.found import Found

__all__ = ["Source", "Target", "sources", "target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source.

    Attributes:
        path: Absolute; a symlink that is the source itself is not resolved.
        name: Its own name; empty for ``/``.
        contents: It ends in a slash: its contents are meant.
        is_folder: It is a folder.
        size: Bytes, of a file.
        device: Of the file system that it is on.
    """

    path: str
    name: str
    contents: bool
    is_folder: bool
    size: int = 0
    device: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a copy goes.

    Attributes:
        base: The folder that all names below are relative to; made when it is not there.
        names: For each source, what it is called there.
    """

    base: str
    names: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The targets' absolute paths."""
        return tuple(os.path.join(self.base, name) for name in self.names)  # noqa: PTH118 - text


def sources(given: Sequence[str], found: Sequence[Found]) -> tuple[Source, ...]:
    """Decide what is to be copied.

    Args:
        given: The sources, as they were typed.
        found: What is under each, on the machine that they are on.

    Raises:
        UsageError: There is none, one is not there, or two have the same name.
    """
    if not given:
        raise UsageError(reason="nothing to copy: name a file or a folder")
    named = tuple(_source(one, there) for one, there in zip(given, found, strict=True))
    names = [one.name for one in named]
    for name in names:
        if names.count(name) > 1:
            reason = f"two sources have the name {printable(os.fsencode(name))}"
            raise UsageError(reason=f"{reason}: copy them one after the other")
    return named


def target(given: tuple[Source, ...], to: str, found: Found) -> Target:
    """Decide what each source is called at the destination.

    Args:
        given: The sources.
        to: The destination, as it was typed; a trailing slash says that it is a folder.
        found: What is there.

    Raises:
        UsageError: It cannot be.
    """
    shown = printable(os.fsencode(to))
    if found.refusal:
        raise UsageError(reason=f"{shown}: {found.refusal}")
    contents = [one for one in given if one.contents or not one.name]
    if contents and len(given) > 1:
        raise UsageError(
            reason="the contents of a folder (a trailing slash) are copied alone: "
            "copy the sources one after the other"
        )
    is_into = len(given) > 1 or (not contents and (found.is_folder or to.endswith("/")))
    if (is_into or given[0].is_folder) and found.exists and not found.is_folder:
        raise UsageError(reason=f"{shown} is not a folder")
    if is_into:
        return Target(base=found.place, names=tuple(one.name for one in given))
    base, name = os.path.split(found.place)
    if not name:  # the contents of a folder into the root directory
        raise UsageError(reason="the root directory is no destination: name what is in the source")
    return Target(base=base, names=(name,))


def _source(given: str, found: Found) -> Source:
    shown = printable(os.fsencode(given))
    if not found.exists:
        raise UsageError(reason=f"{shown}: {found.refusal or 'no such file or folder'}")
    contents = given.endswith("/") or os.path.basename(given) in {".", ".."}  # noqa: PTH119
    if contents and not found.is_folder:
        raise UsageError(reason=f"{shown} is not a folder")
    path = found.real if contents else found.full
    return Source(
        path=path,
        name=os.path.basename(path),  # noqa: PTH119 - text in any bytes
        contents=contents,
        is_folder=found.is_folder and (contents or not found.is_link),
        size=found.size,
        device=found.device,
    )
