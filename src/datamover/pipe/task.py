"""Run one instance of one stage, and say how it ended.

This is one of the two places that catch everything: whatever a stage raises becomes a message to
the monitor that names stage, instance, sequence and cause.

Source: seed, "Status Monitoring"; SPEC A6, C9, C16; docs/ARCHITECTURE.md.
"""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

from datamover.errors import DataMoverError, StageFailedError, StopRequestedError
from datamover.pipe.accounted import AccountedPort
from datamover.pipe.counters import Counters
from datamover.pipe.custody import CustodyPort
from datamover.pipe.definition import Definition, find
from datamover.pipe.port import TaskPort
from datamover.shm.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from datamover.pipe.control import Control
    from datamover.pipe.custody import Custody
    from datamover.pipe.facts import TaskFacts
    from datamover.pipe.waiter import Waiter

__all__ = ["run_task"]


def run_task(
    facts: TaskFacts,
    *,
    control: Control,
    waiter: Waiter,
    custody: Custody | None = None,
    definition: Definition | None = None,
    prepare: Callable[[], None] | None = None,
) -> bool:
    """Attach, run the stage to its end, and report; return whether it ended well.

    Args:
        facts: What the task is.
        control: Where it reports.
        waiter: How it waits.
        custody: What the tasks of its process share, where they would be replaced.
        definition: The stage, where it is known; found by its reference otherwise.
        prepare: Called first; what it raises is reported like an error of the stage.

    Blocking: until the stage returns or is stopped.
    Ownership: the descriptors stay the caller's.
    """
    sequence = -1
    try:
        if prepare is not None:
            prepare()
        segment = _attach(facts)
        counters = Counters(segment.record(facts.id))
        port = _port(facts, segment, control, counters, waiter, custody)
        try:
            found = definition or find(facts.use)
            settings = found.convert(facts.settings)
            counters.start()
            control.say("ready", {})
            if settings is None:
                found.run(port)
            else:
                found.run(port, settings)
            port.finish()
        finally:
            sequence = counters.sequence
            counters.end()
            port.release()
            segment.close()
        control.say("finished", {})
    except StopRequestedError:
        return True
    except KeyboardInterrupt:
        raise  # only inline: it is the caller's, whose thread this is
    except BaseException as error:
        return _failed(control, facts, sequence, error)
    return True


def _attach(facts: TaskFacts) -> Segment:
    descriptor = os.dup(facts.descriptors.segment)
    try:
        return Segment.attach(descriptor, facts.segment)
    except BaseException:
        os.close(descriptor)
        raise


def _port(
    facts: TaskFacts,
    segment: Segment,
    control: Control,
    counters: Counters,
    waiter: Waiter,
    custody: Custody | None,
) -> TaskPort:
    if custody is not None:
        return CustodyPort(
            facts, segment, control=control, counters=counters, waiter=waiter, custody=custody
        )
    kind = AccountedPort if facts.accounted else TaskPort
    return kind(facts, segment, control=control, counters=counters, waiter=waiter)


def _failed(control: Control, facts: TaskFacts, sequence: int, error: BaseException) -> bool:
    if isinstance(error, DataMoverError):
        cause, code, hint = str(error), error.code, error.hint
        status = error.exit_status
    else:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = f" ({last[0].name}, line {last[0].lineno})" if last else ""
        cause, code, status = f"{type(error).__name__}: {error}{where}", "exception", 70
        hint = "DATAMOVER_DEBUG=1 prints where it happened"
        if os.environ.get("DATAMOVER_DEBUG"):
            traceback.print_exception(error)
    report = StageFailedError(
        stage=facts.stage,
        instance=facts.instance,
        sequence=sequence,
        cause=cause,
        cause_code=code,
        cause_status=status,
        cause_hint=hint,
    )
    try:
        control.say("failed", {name: getattr(report, name) for name in report.__dataclass_fields__})
    except StopRequestedError:
        return False
    return False
