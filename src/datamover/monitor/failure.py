"""What another process said of its failure, as an error.

Source: docs/spec/control-protocol.md, section 3; SPEC C16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import StageFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["revived_failure"]


def revived_failure(facts: Mapping[str, object], *, machine: str = "") -> StageFailedError:
    """Make an error of what a task, or another machine, said of it; what is no fact is left out.

    Args:
        facts: As ``errors.facts`` returns them.
        machine: Where it happened; empty: here.
    """

    def text(name: str) -> str:
        return str(facts.get(name, ""))

    def number(name: str, default: int) -> int:
        value = facts.get(name)
        return value if isinstance(value, int) else default

    return StageFailedError(
        stage=text("stage"),
        instance=number("instance", -1),
        sequence=number("sequence", -1),
        cause=text("cause"),
        cause_code=text("cause_code"),
        cause_status=number("cause_status", 70),
        cause_hint=text("cause_hint"),
        machine=machine,
    )
