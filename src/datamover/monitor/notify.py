"""Tell the service manager what state the daemon is in.

Source: sd_notify(3); SPEC C1.
"""

from __future__ import annotations

import contextlib
import os
import socket

__all__ = ["notify", "watchdog_s"]


def notify(state: str) -> None:
    """Send a state, such as "READY=1"; nothing happens where nobody wants to know.

    Blocking: never.
    """
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    # A manager that does not listen is no reason to fail.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), where.replace("@", "\0", 1) if where[0] == "@" else where)


def watchdog_s() -> float | None:
    """Return how often the manager wants to hear "WATCHDOG=1" at least; None: it does not."""
    period = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
    return int(period) / 1e6 if period.isdigit() and int(period) and mine else None
