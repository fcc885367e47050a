"""``datamover jobs``: what the monitor goes on with by itself, and what has become of it."""

from datamover.cli.answer import Column, Kind, Rows
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.measure import printable
from datamover.cli.render import show
from datamover.monitor.local import LocalMonitor

__all__ = ["jobs"]

_NANOSECONDS = 1_000_000_000
_COLUMNS = (
    Column(key="job", heading="job"),
    Column(key="state", heading="state"),
    Column(key="attempts", heading="attempts", kind=Kind.COUNT),
    Column(key="begun", heading="begun", kind=Kind.TIME),
    Column(key="what", heading="what"),
    Column(key="reason", heading="reason"),
)


def jobs(*, everywhere: Everywhere = DEFAULTS) -> None:
    """List the jobs of the monitor, those that have ended too.

    Args:
        everywhere: The options that every command takes.
    """
    with LocalMonitor.reach() as monitor:
        told = monitor.call("job.list", {}).get("jobs")
    found = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    rows = [
        (
            str(one.get("id")),
            str(one.get("state")),
            int(one.get("attempts", 0)),
            int(one.get("begun", 0)) * _NANOSECONDS,
            printable(str(one.get("what", ""))),
            printable(str(one.get("reason", ""))),
        )
        for one in found
    ]
    show(
        Rows(event="job", columns=_COLUMNS, rows=rows, empty="the monitor has no jobs"), everywhere
    )
