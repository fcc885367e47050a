"""Found: what is under a path, looked at on the machine that it is on.

Source: docs/spec/copy-pipes.md, "Looking"; docs/guides/copy.md, "Names".
"""

from __future__ import annotations

import os
import stat
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

import msgspec

from datamover.disk.straight import open_folder, shown, status_of
from datamover.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Found"]

_PATHS = ("full", "real")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a path leads to.

    Attributes:
        full: Absolute, without symlinks but for the last component.
        real: Absolute, without symlinks; ``full`` where nothing is there.
        exists: Something is there, be it a symlink to nothing.
        is_link: It is a symlink.
        is_folder: It is a folder, or a symlink to one.
        is_empty: It is a folder, with nothing in it.
        size: Bytes, of a file that is no symlink.
        device: Of the file system that it is on, or that it would be on.
        is_root: Whoever looked is the superuser, and can set owners.
        refusal: Why the system did not let it be looked at; empty when it did.
    """

    full: str
    real: str
    exists: bool = False
    is_link: bool = False
    is_folder: bool = False
    is_empty: bool = False
    size: int = 0
    device: int = 0
    is_root: bool = False
    refusal: str = ""

    @property
    def place(self) -> str:
        """Where a copy to this path goes: into the folder that it leads to, or to its name."""
        return self.real if self.is_folder else self.full

    @classmethod
    def at(cls, path: str, real: str = "") -> Self:
        """Look; a relative path is below the working directory.

        Args:
            path: Where.
            real: Where that leads, when it was found out before; both are straight paths then,
                and no link is followed any more.
        """
        if real:
            return cls._straight(path, real)
        full = os.path.abspath(path)  # noqa: PTH100 - text in any bytes
        above, name = os.path.split(full)
        full = os.path.join(os.path.realpath(above), name)  # noqa: PTH118 - text
        try:
            there = _status(full, follow=False)
            target = _status(full, follow=True)
            is_folder = target is not None and stat.S_ISDIR(target.st_mode)
            real = os.path.realpath(full)
            return cls(
                full=full,
                real=real,
                exists=there is not None,
                is_link=there is not None and stat.S_ISLNK(there.st_mode),
                is_folder=is_folder,
                is_empty=is_folder and _is_empty(real),
                size=there.st_size if there is not None and stat.S_ISREG(there.st_mode) else 0,
                device=_device(real),
                is_root=os.geteuid() == 0,
            )
        except OSError as error:
            return cls(full=full, real=full, refusal=error.strerror or str(error))

    @classmethod
    def _straight(cls, path: str, real: str) -> Self:
        full, leads = shown(path), shown(real)
        try:
            there, target = status_of(path), status_of(real)
            is_folder = target is not None and stat.S_ISDIR(target.st_mode)
            return cls(
                full=full,
                real=leads,
                exists=there is not None,
                is_link=there is not None and stat.S_ISLNK(there.st_mode),
                is_folder=is_folder,
                is_empty=is_folder and _is_empty(real),
                size=there.st_size if there is not None and stat.S_ISREG(there.st_mode) else 0,
                device=_device(real),
                is_root=os.geteuid() == 0,
            )
        except OSError as error:
            return cls(full=full, real=leads, refusal=error.strerror or str(error))

    def facts(self) -> dict[str, str | int | bool]:
        """Return the fields as plain values, paths in hexadecimal, for which any byte is right."""
        facts = asdict(self)
        return {
            name: os.fsencode(value).hex() if name in _PATHS else value
            for name, value in facts.items()
        }

    @classmethod
    def of(cls, facts: Mapping[str, object]) -> Self:
        """Undo ``facts``.

        Raises:
            MalformedError: They are not those of a path.
        """
        try:
            paths = {name: os.fsdecode(bytes.fromhex(str(facts[name]))) for name in _PATHS}
            found = msgspec.convert({**facts, **dict.fromkeys(_PATHS, "")}, cls)
        except (KeyError, ValueError) as error:
            raise MalformedError(what="look", reason=str(error)) from error
        if not all(path.startswith("/") and "\0" not in path for path in paths.values()):
            raise MalformedError(what="look", reason="a path is not absolute")
        return replace(found, full=paths["full"], real=paths["real"])


def _status(path: str, *, follow: bool) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - text in any bytes
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_empty(path: str) -> bool:
    folder = open_folder(path)
    try:
        with os.scandir(folder) as names:
            return next(names, None) is None
    finally:
        os.close(folder)


def _device(path: str) -> int:
    """Return the device of a path, or of the first folder above it that is there."""
    look = partial(_status, follow=True) if shown(path) == path else status_of
    while (there := look(path)) is None:
        path = os.path.dirname(path)  # noqa: PTH120 - text in any bytes
    return there.st_dev
