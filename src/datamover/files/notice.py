"""Notice: how file work tells of what it could not do, and goes on.

Source: docs/ARCHITECTURE.md, "Layers": files know no ports.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Notice"]


class Notice(Protocol):
    """Called with what kind of thing happened, to which path, and why."""

    def __call__(self, kind: str, path: bytes, reason: str) -> None:
        """Take the notice; the caller goes on when it returns."""
        ...
