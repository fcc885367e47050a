"""The commands that are compared: each makes a fresh output and takes it away at the end.

A tool is two shell commands over $SRC (what to save), $OUT (a fresh folder) and $DST (a fresh
folder to restore into).  What is only preparation (making a repository) is not timed.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Cost, cache, run_group

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["PEERS", "TAR", "Job", "Tool", "datamover_tool", "is_ready"]

DATAMOVER = os.environ.get("DATAMOVER", f"{sys.executable} -m datamover")
_REPOSITORY = "export BORG_BASE_DIR=$OUT/cache BORG_PASSPHRASE=$DATAMOVER_PASSPHRASE; "
_RESTIC = "export RESTIC_PASSWORD=$DATAMOVER_PASSPHRASE; restic -q -r $OUT/r --cache-dir $OUT/cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """How one program saves and restores.

    Attributes:
        prepare: run before ``save``, not timed; "" for nothing.
        save: from $SRC into $OUT.
        restore: from $OUT into $DST; "" when it is not measured.
    """

    name: str
    save: str
    restore: str = ""
    prepare: str = ""


def datamover_tool(options: str = "", name: str = "datamover") -> Tool:
    """The project's own command, encrypted, with its defaults."""
    return Tool(
        name=name,
        prepare=f"{DATAMOVER} init $OUT/s",
        save=f"{DATAMOVER} backup $SRC --to $OUT/s --json {options}",
        restore=f"{DATAMOVER} restore --from $OUT/s --to $DST --json",
    )


PEERS = (
    Tool(
        name="restic",
        prepare=f"{_RESTIC} init",
        save=f"cd $(dirname $SRC) && {_RESTIC} backup --compression auto $(basename $SRC)",
        restore=f"{_RESTIC} restore latest --target $DST",
    ),
    Tool(
        name="borg",
        prepare=f"{_REPOSITORY} borg init -e repokey $OUT/r",
        save=f"{_REPOSITORY} cd $(dirname $SRC) && "
        "borg create -C zstd,1 $OUT/r::a $(basename $SRC)",
        restore=f"{_REPOSITORY} cd $DST && borg extract $OUT/r::a",
    ),
)


TAR = (
    Tool(
        name="tar | zstd -T2 -1",
        save="tar -C $(dirname $SRC) -cf - $(basename $SRC) | zstd -T2 -1 -q > $OUT/z",
        restore="zstd -d -q -c $OUT/z | tar -x -C $DST",
    ),
    Tool(
        name="tar | zstd -T2 -1, sync",
        save="tar -C $(dirname $SRC) -cf - $(basename $SRC) | zstd -T2 -1 -q > $OUT/z; sync $OUT/z",
        restore="zstd -d -q -c $OUT/z | tar -x -C $DST; sync -f $DST",
    ),
)


def is_ready() -> bool:
    """Whether the project's command can make a store."""
    out = cache() / "ready"
    shutil.rmtree(out, ignore_errors=True)
    cost = run_group(f"{DATAMOVER} init {out}")
    shutil.rmtree(out, ignore_errors=True)
    return cost.status == 0


class Job:
    """Runs tools on one source, each time into a folder that was never there before.

    Folders are kept until ``clean``: writing just after a large removal is several times slower.
    """

    _numbers = count()

    def __init__(self, source: Path) -> None:
        self.source = source
        self.root = cache() / f"out-{os.getpid()}"
        self.saved: dict[str, Path] = {}

    def saver(self, tool: Tool, *, memory: bool = False) -> Callable[[int], Cost]:
        """Return a candidate for ``compare`` that saves."""

        def run(_: int) -> Cost:
            out = self._fresh()
            self._run(tool.prepare, out=out)
            cost = self._run(tool.save, out=out, memory=memory)
            self.saved[tool.name] = out
            return cost

        return run

    def restorer(self, tool: Tool, *, memory: bool = False) -> Callable[[int], Cost]:
        """Return a candidate that restores what ``saver`` saved last."""
        return lambda _: self._run(
            tool.restore, out=self.saved[tool.name], into=self._fresh(), memory=memory
        )

    def stored(self, tools: Sequence[Tool]) -> dict[str, int]:
        """Bytes on disk of what each tool saved last, caches left out."""
        return {
            tool.name: sum(
                Path(folder, name).lstat().st_size
                for folder, _, names in os.walk(self.saved[tool.name])
                if "cache" not in Path(folder).parts
                for name in names
            )
            for tool in tools
            if tool.name in self.saved
        }

    def clean(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def _fresh(self) -> Path:
        path = self.root / str(next(self._numbers))
        path.mkdir(parents=True)
        return path

    def _run(
        self, command: str, *, out: Path, into: Path | None = None, memory: bool = False
    ) -> Cost:
        if not command:
            return Cost(0.0, 0.0, 0)
        os.sync()  # what the run before left to write is not this one's
        places = {"SRC": str(self.source), "OUT": str(out), "DST": str(into or out)}
        cost = run_group(command, memory=memory, environment=places)
        if cost.status:
            print(f"  {command}: status {cost.status}: {cost.stderr[-500:]}", file=sys.stderr)
        return cost
