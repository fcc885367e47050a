"""Targets: what `copy SRC... DST` calls each source at its destination.

    copy a b       b is a folder          b/a
    copy a b       b is not there         b, like a
    copy a/ b      trailing slash         b, with what is in a
    copy f g       files                  g, like f
    copy f b/      trailing slash         b/f
    copy a f b     several                b/a, b/f; b is made when it is not there

The rules look at paths alone, and at what ``Found`` says of the destination, so that they serve a
destination on another machine, too.

Source: docs/guides/copy.md, "Names"; cp(1), rsync(1).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from datamover.errors import UsageError
from datamover.files.printable import printable

__all__ = ["Found", "Source", "Target", "look", "sources", "target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is under a path, as ``look`` found it.

    Attributes:
        path: Absolute, symlinks in it resolved but for a last component that is not there.
        exists: Something is there.
        is_folder: It is a folder, or a symlink to one.
        is_empty: It is a folder, with nothing in it.
        device: Of the file system that it is on, or that it would be on.
        is_root: Whoever looked is the superuser, and can set owners.
    """

    path: str
    exists: bool
    is_folder: bool
    is_empty: bool
    device: int
    is_root: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source.

    Attributes:
        path: Absolute; a symlink that is the source itself is not resolved.
        name: Its own name; empty for ``/``.
        contents: It ends in a slash: its contents are meant.
        is_folder: It is a folder.
        size: Bytes, of a file.
    """

    path: str
    name: str
    contents: bool
    is_folder: bool
    size: int = 0


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


def look(path: str) -> Found:
    """Look at a destination, on the machine that it is on.

    Raises:
        UsageError: The system does not let this user look there.
    """
    full = os.path.abspath(path)  # noqa: PTH100 - text in any bytes
    try:
        there = _status(full)
        is_folder = there is not None and stat.S_ISDIR(there.st_mode)
        is_empty = False
        if is_folder:
            full = os.path.realpath(full)
            with os.scandir(full) as names:
                is_empty = next(names, None) is None
        else:
            above, name = os.path.split(full)
            full = os.path.join(os.path.realpath(above), name)  # noqa: PTH118 - text
        return Found(
            path=full,
            exists=there is not None or os.path.lexists(full),
            is_folder=is_folder,
            is_empty=is_empty,
            device=_device(full),
            is_root=os.geteuid() == 0,
        )
    except OSError as error:
        shown = printable(os.fsencode(path))
        raise UsageError(reason=f"{shown}: {error.strerror}") from error


def sources(given: tuple[str, ...] | list[str]) -> tuple[Source, ...]:
    """Look at the sources, on the machine that they are on.

    Raises:
        UsageError: There is none, one is not there, or two have the same name.
    """
    if not given:
        raise UsageError(reason="nothing to copy: name a file or a folder")
    found: list[Source] = []
    for one in given:
        contents = one.endswith("/") or os.path.basename(one) in {".", ".."}  # noqa: PTH119
        full = os.path.abspath(one)  # noqa: PTH100 - a link that is the source stays
        if contents:
            full = os.path.realpath(full)
        shown = printable(os.fsencode(one))
        try:
            status = os.lstat(full)
        except OSError as error:
            raise UsageError(reason=f"{shown}: {error.strerror}") from error
        is_folder = stat.S_ISDIR(status.st_mode)
        if contents and not is_folder:
            raise UsageError(reason=f"{shown} is not a folder")
        name = os.path.basename(full)  # noqa: PTH119 - text in any bytes
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        found.append(
            Source(path=full, name=name, contents=contents, is_folder=is_folder, size=size)
        )
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            reason = f"two sources have the name {printable(os.fsencode(name))}"
            raise UsageError(reason=f"{reason}: copy them one after the other")
    return tuple(found)


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
        return Target(base=found.path, names=tuple(one.name for one in given))
    base, name = os.path.split(found.path)
    if not name:  # the contents of a folder into the root directory
        raise UsageError(reason="the root directory is no destination: name what is in the source")
    return Target(base=base, names=(name,))


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - text in any bytes
    except (FileNotFoundError, NotADirectoryError):
        return None


def _device(path: str) -> int:
    """Return the device of a path, or of the first folder above it that is there."""
    while (there := _status(path)) is None:
        path = os.path.dirname(path)  # noqa: PTH120 - text in any bytes
    return there.st_dev
