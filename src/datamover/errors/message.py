"""Errors as plain values, as they cross from one process to another."""

from __future__ import annotations

import functools
from dataclasses import fields
from typing import TYPE_CHECKING

from datamover.errors.base import DataMoverError, Fact, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "facts",
    "is_retryable",
    "revive",
]


def facts(error: DataMoverError) -> dict[str, Fact]:
    """Return the error as plain values for a message: ``code`` and one entry a field."""
    return {"code": error.code} | {f.name: getattr(error, f.name) for f in fields(error)}


def revive(given: Mapping[str, object]) -> DataMoverError:
    """Rebuild an error from ``facts``; an unknown code or field becomes a plain UsageError.

    The message comes from another process, so it is never trusted to name a class.
    """
    kind = _kinds().get(str(given.get("code")))
    values = {k: v for k, v in given.items() if k != "code"}
    if kind is None or not set(values) <= {f.name for f in fields(kind)}:
        return UsageError(reason=f"unknown error: {given!r:.200}")
    try:
        return kind(**values)
    except TypeError:
        return UsageError(reason=f"incomplete error: {given!r:.200}")


def is_retryable(code: str) -> bool:
    """Whether errors of this code are worth trying again; an unknown code is not."""
    kind = _kinds().get(code)
    return kind is not None and kind.retryable


@functools.cache
def _kinds() -> dict[str, type[DataMoverError]]:
    found: dict[str, type[DataMoverError]] = {}
    waiting: list[type[DataMoverError]] = [DataMoverError]
    while waiting:
        kind = waiting.pop()
        found.setdefault(kind.code, kind)
        waiting.extend(reversed(kind.__subclasses__()))
    return found
