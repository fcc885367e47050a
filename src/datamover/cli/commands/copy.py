"""``datamover copy SRC... DST``: make a destination like its sources."""

from typing import Annotated

from cyclopts import Parameter

from datamover.cli.begin import begin_copy
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.items import Items
from datamover.cli.network import NEAR, Network
from datamover.cli.progress import Display
from datamover.cli.summary import finish
from datamover.errors import UsageError
from datamover.mover import copy as mover
from datamover.pipe.spec import OnDeath, parse_size

__all__ = ["copy"]


def copy(
    paths: Annotated[list[str], Parameter(name="SRC... DST")],
    /,
    *,
    delete: bool = False,
    delete_excluded: bool = False,
    checksum: bool = False,
    exclude: list[str] | None = None,
    one_file_system: bool = False,
    numeric_ids: bool = False,
    compress: str = "none",
    delta_from: str = "1MiB",
    through_buffers: bool = False,
    jobs: int = 0,
    no_sync: bool = False,
    dry_run: bool = False,
    itemize: bool = False,
    on_death: OnDeath = OnDeath.STOP,
    daemon: bool = False,
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> int:
    """Make a folder like another: only what differs is copied.

    Args:
        paths: Files and folders, and last where to. `SRC/` means what is in SRC; `DST/` says that
            DST is a folder.
        delete: Remove from the destination what the source does not have; never when a part of the
            source could not be read.
        delete_excluded: With `--delete`, remove what the patterns match, too.
        checksum: Compare what files of one size hold, not their times.
        exclude: Leave out what matches this pattern; may be given many times.
        one_file_system: Do not go into folders that are on another file system.
        numeric_ids: Give files to the owner's number, not to the owner's name.
        compress: Compress between the two sides: zstd-1 to zstd-19, lz4, gzip-1 to gzip-3, or none.
        delta_from: Size from which of a file that replaces one only the differences are sent, where
            they are sent at all; 0 for never.
        through_buffers: On one machine, too, move the data through the pipe, not in the kernel.
        jobs: Tasks that read and that compress; 0: as many as there are processors.
        no_sync: Do not wait until everything is on the disk.
        dry_run: Say what would be done, and do nothing.
        itemize: Say what is done, one line for each file.
        on_death: What happens when a task that can be replaced is killed: retry or stop.
        daemon: Have the monitor of this user do it, which tries again until it works.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    if jobs < 0:
        raise UsageError(reason="--jobs must not be below 0")
    if len(paths) < 2:  # noqa: PLR2004 - one source and a destination
        raise UsageError(reason="name what to copy, and where to")
    settings = mover.CopySettings(
        excludes=tuple(exclude or ()),
        one_file_system=one_file_system,
        checksum=checksum,
        delete=delete,
        delete_excluded=delete_excluded,
        numeric_ids=numeric_ids,
        compress=compress,
        delta_from=parse_size(delta_from),
        through_buffers=through_buffers,
        jobs=jobs,
        sync=not no_sync,
        dry_run=dry_run,
        itemize=itemize,
        on_death=on_death,
    )
    *given, to = paths
    if daemon:
        return begin_copy(given, to, settings, network.travel(), everywhere)
    with Display(everywhere) as display:
        watch = Items(display, as_json=everywhere.json)
        summary = mover.copy(given, to, settings, watch, network.travel())
    return finish(summary, everywhere)
