"""The project's own copy command, in clear and sealed, as a mover."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from movers import Mover
from tools import DATAMOVER

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["datamover_movers"]


def datamover_movers(options: Sequence[str]) -> tuple[Mover, ...]:
    """Return what there is of it: nothing, where ``datamover copy`` is not there yet."""
    known = subprocess.run(f"{DATAMOVER} copy --help", shell=True, capture_output=True, check=False)
    if known.returncode:
        return ()
    words = " ".join(options)
    return (
        Mover(name="datamover, clear", copy=f"{DATAMOVER} copy $SRC/ $HOST:$DST {words}"),
        Mover(name="datamover, sealed", copy=f"{DATAMOVER} copy $SRC/ $HOST:$DST {words}"),
    )
