"""How a pipe, or a part of one, ended: as a message for whoever asked for it.

Source: docs/spec/control-protocol.md, section 3; SPEC C15-C17.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import DataMoverError, StopRequestedError, facts, revive
from datamover.wire.message import PipeEnded, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from datamover.monitor.live import Outcome
    from datamover.wire.account import PartAccount

__all__ = ["ending", "refusal", "refused"]


def ending(
    pipe: str,
    part: int,
    outcome: Callable[[], Outcome],
    account: PartAccount | None = None,
) -> PipeEnded:
    """Return what is said of a pipe that is over.

    Args:
        pipe: Its name.
        part: Which part of it; 0 for the whole.
        outcome: Of ``LivePipe``, or of ``JointPipe``.
        account: What it did.
    """
    try:
        found = outcome()
    except StopRequestedError:
        return PipeEnded(pipe=pipe, part=part, how="stopped", account=account)
    except DataMoverError as error:
        return PipeEnded(
            pipe=pipe, part=part, how="failed", failure=dict(facts(error)), account=account
        )
    results = {stage: [dict(one) for one in held] for stage, held in found.results.items()}
    return PipeEnded(pipe=pipe, part=part, how="finished", results=results, account=account)


def refusal(request: int, ended: PipeEnded) -> Refused:
    """Return the answer to who asked for a pipe that ended before all of it was attached."""
    given = ended.failure
    if not given:
        return Refused(request=request, code="pipe.stopped", reason="it was stopped", status=75)
    error = revive(given)
    status = given.get("cause_status", error.exit_status)
    return Refused(
        request=request,
        code=str(given.get("cause_code", error.code)),
        reason=str(error),
        hint=str(given.get("cause_hint", error.hint)),
        status=status if isinstance(status, int) else error.exit_status,
    )


def refused(request: int, error: DataMoverError | OSError) -> Refused:
    """Return the answer to who asked for what an error has ended: it names the cause of that."""
    if isinstance(error, OSError):
        name = f"{error.filename}: " if isinstance(error.filename, str) else ""
        reason = f"{name}{error.strerror or error}"
        return Refused(request=request, code="system", reason=reason, status=74)
    given = facts(error)
    status = given.get("cause_status", error.exit_status)
    return Refused(
        request=request,
        code=str(given.get("cause_code", error.code)),
        reason=str(error),
        hint=str(given.get("cause_hint", error.hint)),
        status=status if isinstance(status, int) else error.exit_status,
    )
