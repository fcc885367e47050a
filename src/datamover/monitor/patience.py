"""How long the other side of a conversation may be silent, and how long it has been.

Source: docs/spec/control-protocol.md, section 3; SPEC C14.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

__all__ = ["PATIENCE", "Patience", "Silence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long silence is borne.

    Attributes:
        quiet_s: After so much of it the other side is asked whether it is there.
        answer_s: After so much more it is gone.
        message_s: A message that began is whole by then.
        opening_s: Hello, or Welcome, is here by then.
    """

    quiet_s: float = 30.0
    answer_s: float = 10.0
    message_s: float = 60.0
    opening_s: float = 10.0


PATIENCE: Final = Patience()


class Silence:
    """Measures the silence of one side."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._heard = self._whole = time.monotonic()
        self._asked: float | None = None
        self._within = False

    def hear(self) -> None:
        """Note that bytes came."""
        self._heard, self._asked = time.monotonic(), None

    def understand(self, *, some: bool, within: bool) -> None:
        """Note whether ``some`` messages were whole, and whether another has begun."""
        if some or not self._within:
            self._whole = time.monotonic()
        self._within = within

    def left(self) -> float:
        """Seconds until something must be done; below 0: see ``verdict``."""
        now, patience = time.monotonic(), self._patience
        due = (
            self._heard + patience.quiet_s
            if self._asked is None
            else self._asked + patience.answer_s
        )
        if self._within:
            due = min(due, self._whole + patience.message_s)
        return due - now

    def verdict(self) -> str | None:
        """Say why the other side is gone; None: it must be asked whether it is there."""
        now = time.monotonic()
        if self._within and now >= self._whole + self._patience.message_s:
            return "what it began to say did not end"
        if self._asked is None:
            self._asked = now
            return None
        return f"it has been silent for {now - self._heard:.0f} s"
