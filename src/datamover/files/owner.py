"""Owners: numbers to names and back, each asked for once.

Source: SPEC U10 (ownership).
"""

from __future__ import annotations

import grp
import os
import pwd
from functools import lru_cache
from typing import Final

__all__ = ["gid_of", "group_name", "uid_of", "user_name"]

_LONGEST: Final = 255
_KNOWN: Final = 4096
"""Names kept at most; a tree of more owners than this asks again."""


@lru_cache(maxsize=_KNOWN)
def user_name(uid: int) -> bytes:
    """Return the user's name; empty when it has none."""
    try:
        return os.fsencode(pwd.getpwuid(uid).pw_name)[:_LONGEST]
    except KeyError:
        return b""


@lru_cache(maxsize=_KNOWN)
def group_name(gid: int) -> bytes:
    """Return the group's name; empty when it has none."""
    try:
        return os.fsencode(grp.getgrgid(gid).gr_name)[:_LONGEST]
    except KeyError:
        return b""


@lru_cache(maxsize=_KNOWN)
def uid_of(name: bytes, uid: int) -> int:
    """Return the number that the user has here; ``uid`` when there is no such name."""
    try:
        return pwd.getpwnam(os.fsdecode(name)).pw_uid if name else uid
    except KeyError:
        return uid


@lru_cache(maxsize=_KNOWN)
def gid_of(name: bytes, gid: int) -> int:
    """Return the number that the group has here; ``gid`` when there is no such name."""
    try:
        return grp.getgrnam(os.fsdecode(name)).gr_gid if name else gid
    except KeyError:
        return gid
