"""Lead a pipe on all the machines that its stages name, this one among them or not.

Source: seed FIG. 2B, 3B; SPEC C2, C4, C5; docs/decisions/0014-two-machines.md.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from datamover.monitor.place import parse_host
from datamover.monitor.supervisor import new_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.monitor.joint import JointPipe
    from datamover.monitor.live import LivePipe, Notify
    from datamover.monitor.supervisor import Monitor
    from datamover.mover.travel import Travel
    from datamover.pipe.spec import PipeSpec

__all__ = ["Led", "led"]

Led = "LivePipe | JointPipe"
_TICK: Final = 0.2
_PATIENCE_S: Final = 12.0


@contextmanager
def led(
    spec: PipeSpec, travel: Travel, *, monitor: Monitor, on_notice: Notify | None = None
) -> Iterator[LivePipe | JointPipe]:
    """Start a pipe for a ``with`` block; what of it runs at the end is stopped.

    Args:
        spec: Stages say with ``at`` where they run.
        travel: How those machines are reached.
        monitor: Runs what runs here.
        on_notice: See ``Monitor.start``.

    Raises:
        SpecError: It cannot be built; nothing runs.
        PeerError: A machine cannot be reached, or refuses; nothing runs.

    Blocking: until the other machines answer, and their tasks are attached.
    """
    machines = list(dict.fromkeys(stage.at for stage in spec.stages if stage.at))
    if not machines:
        with _stopping(monitor.start(spec, on_notice=on_notice)) as pipe:
            yield pipe
        return
    # Imported late: most pipes stay on this machine.
    from datamover.monitor.joint import JointPipe  # noqa: PLC0415 - as above
    from datamover.mover.travel import reached_place  # noqa: PLC0415 - as above
    from datamover.pipe.split import split  # noqa: PLC0415 - as above

    parts = split(spec, os.urandom)
    with ExitStack() as stack:
        places = {
            machine: stack.enter_context(reached_place(parse_host(machine), travel))[1]
            for machine in machines
        }
        joint = JointPipe(
            name=new_name(spec), parts=parts, places=places, monitor=monitor, on_notice=on_notice
        )
        joint.start()
        with _stopping(joint) as pipe:
            yield pipe


@contextmanager
def _stopping(pipe: LivePipe | JointPipe) -> Iterator[LivePipe | JointPipe]:
    try:
        yield pipe
    finally:
        if not pipe.is_over:
            pipe.stop("who led it, which ends")
            deadline = time.monotonic() + _PATIENCE_S
            while not pipe.poll(_TICK) and time.monotonic() < deadline:
                continue
