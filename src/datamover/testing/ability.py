"""Whether this machine lets a kind of test run, and if not, why.

Source: CONTRIBUTING.md, "Two machines on one".
"""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Ability"]


@dataclass(frozen=True, slots=True)
class Ability:
    """True when it can be done here.

    Attributes:
        reason: Why it cannot; "" when it can.
    """

    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason

    @property
    def is_required(self) -> bool:
        """Whether a test must fail where it cannot run: DATAMOVER_SKIP=never, as CI sets it."""
        return os.environ.get("DATAMOVER_SKIP") == "never"
