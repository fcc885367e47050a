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

__all__ = ["BACKUP", "CLEAR", "LOCAL", "SEALED", "datamover_movers", "enroll"]

CLEAR, SEALED, BACKUP = "datamover, clear", "datamover, sealed", "datamover backup"
_PORT = 4747
_ALLOWED = ("extend", "status", "path:write:/", "store:write:$STORE")
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
    """Return what there is of it between machines: copies, where that option is, and backups.

    A backup is compressed and encrypted here, and arrives as the chunks of a store.
    """
    words = " ".join(options)
    copy = f"{DATAMOVER} copy $SRC/ $MEMBER:$DST/ --quiet {words}"
    copies = tuple(
        Mover(name=name, serve=_LISTEN, port=_PORT, copy=f"{copy} {more}")
        for name, more in ((CLEAR, "--clear"), (SEALED, ""))
        if is_ready()
    )
    backup = Mover(
        name=BACKUP,
        serve=f"rm -rf $STORE && {DATAMOVER} init $STORE --quiet && {_LISTEN}",
        port=_PORT,
        copy=f"{DATAMOVER} backup $SRC --to $MEMBER:$STORE --quiet {words}",
        files=False,
    )
    return (*copies, backup)


def enroll(route: Route) -> None:
    """Make a fleet of the two machines, so that the near one may write on the far one."""
    route.run_far(f"{DATAMOVER} fleet init --name $MEMBER")
    allow = " ".join(f"--allow {one}" for one in _ALLOWED)
    with route.serving(_LISTEN, _PORT):
        token = route.run_far(
            f"{DATAMOVER} fleet invite --quiet --name near --address $HOST:{_PORT} {allow}"
        )
        route.run_near(f"{DATAMOVER} fleet join --name near --token-file -", given=token)
