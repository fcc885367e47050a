"""The project's own copy command as a mover: in clear and sealed, and within one machine."""

from __future__ import annotations

import functools
import os
import subprocess
from typing import TYPE_CHECKING

from movers import Mover
from tools import DATAMOVER

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CLEAR", "LOCAL", "SEALED", "datamover_movers"]

CLEAR, SEALED = "datamover, clear", "datamover, sealed"

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
    return subprocess.run(
        words,
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout


def datamover_movers(options: Sequence[str]) -> tuple[Mover, ...]:
    """Return what there is of it between machines: nothing, where there is no such option."""
    if "--paths" not in _help():
        return ()
    words = " ".join(options)
    return (
        Mover(name=CLEAR, copy=f"{DATAMOVER} copy $SRC/ $HOST:$DST/ {words}"),
        Mover(name=SEALED, copy=f"{DATAMOVER} copy $SRC/ $HOST:$DST/ {words}"),
    )
