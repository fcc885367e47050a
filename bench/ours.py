"""The project's own copy command as a mover: sealed and in clear, and within one machine."""

from __future__ import annotations

import functools
import os
import subprocess
from typing import TYPE_CHECKING

from movers import Mover
from tools import DATAMOVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from route import Route

__all__ = ["CLEAR", "LOCAL", "SEALED", "datamover_movers", "enroll"]

CLEAR, SEALED = "datamover, clear", "datamover, sealed"
_PORT = 4747
_LISTEN = f"exec {DATAMOVER} monitor --listen $HOST:{_PORT} --drain 0 --quiet"

# Both sides in one machine's memory: what a copy through buffers costs without a network.
LOCAL = (
    Mover(name="local: cp -a", copy="cp -a $SRC/. $DST/"),
    Mover(name="local: rsync -a", needs=("rsync",), copy="rsync -a $SRC/ $DST/"),
    Mover(
        name="local: datamover, through buffers",
        copy=f"{DATAMOVER} copy $SRC/ $DST/ --through-buffers --quiet",
    ),
    Mover(name="local: datamover", copy=f"{DATAMOVER} copy $SRC/ $DST/ --quiet"),
)


@functools.cache
def _help() -> str:
    words = f"{DATAMOVER} copy --help"
    wide = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        words, shell=True, capture_output=True, text=True, check=False, env=wide
    ).stdout


def is_ready() -> bool:
    """Whether the command can copy to another machine."""
    return "--paths" in _help()


def datamover_movers(options: Sequence[str]) -> tuple[Mover, ...]:
    """Return what there is of it between machines: nothing, where there is no such option."""
    if not is_ready():
        return ()
    copy = f"{DATAMOVER} copy $SRC/ $HOST:$DST/ --quiet {' '.join(options)}"
    return tuple(
        Mover(name=name, serve=_LISTEN, port=_PORT, copy=f"{copy} {more}")
        for name, more in ((CLEAR, "--clear"), (SEALED, ""))
    )


def enroll(route: Route) -> None:
    """Make a fleet of the two machines, so that the near one may write on the far one."""
    if not is_ready():
        return
    route.run_far(f"{DATAMOVER} fleet init --name far")
    with route.serving(_LISTEN, _PORT):
        allow = "--allow extend --allow status --allow path:write:/"
        token = route.run_far(
            f"{DATAMOVER} fleet invite --quiet --name near --address $HOST:{_PORT} {allow}"
        )
        route.run_near(f"{DATAMOVER} fleet join --name near --token-file -", given=token)
