"""``datamover top``: what the pipes of a machine do, again and again."""

import itertools
import sys
import time

from datamover.cli.account_table import drawing_of, flow_of
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.pipes_of import pipes_of
from datamover.cli.render import show
from datamover.cli.screen import flush, is_terminal, put
from datamover.errors import UsageError

__all__ = ["top"]

_LEAST_S = 0.1
_HOME = "\x1b[H"
_CLEAR_BELOW = "\x1b[0J"
_CLEAR_LINE = "\x1b[K"
_ASIDE, _BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def top(
    *,
    every: float = 1.0,
    count: int = 0,
    on: str = "",
    rsh: str = "",
    remote_command: str = "",
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Show what the pipes of this machine do, or of another, until Ctrl-C.

    Args:
        every: Seconds between two looks.
        count: How many looks; 0: until Ctrl-C.
        on: The machine, as [USER@]HOST; by default this one.
        rsh: The remote shell; by default DATAMOVER_RSH, or ssh.
        remote_command: The program there; by default DATAMOVER_REMOTE, or datamover.
        everywhere: The options that every command takes.
    """
    if every < _LEAST_S:
        raise UsageError(reason=f"--every is {every:g}, it must be {_LEAST_S:g} or more")
    live = is_terminal(sys.stdout) and not everywhere.json
    before: dict[tuple[str, int, str, int], tuple[float, int]] = {}
    with pipes_of(on, rsh=rsh, remote_command=remote_command) as pipes:
        try:
            if live:
                put(_ASIDE)
            for look in itertools.count(1):
                accounts = pipes.accounts()
                now = flow_of(accounts)
                drawing = drawing_of(accounts, rates=_rates(before, now))
                before = now
                if live:
                    put(_HOME + drawing.text.replace("\n", f"{_CLEAR_LINE}\n") + _CLEAR_BELOW)
                else:
                    show(drawing, everywhere)
                flush()
                if look == count:
                    return
                time.sleep(every)
        finally:
            if live:
                put(_BACK)


def _rates(
    before: dict[tuple[str, int, str, int], tuple[float, int]],
    now: dict[tuple[str, int, str, int], tuple[float, int]],
) -> dict[tuple[str, int, str, int], float]:
    """Return bytes a second since the look before; since the beginning, where there was none."""
    found = {}
    for key, (age, done) in now.items():
        then, had = before.get(key, (0.0, 0))
        if age > then:
            found[key] = (done - had) / (age - then)
    return found
