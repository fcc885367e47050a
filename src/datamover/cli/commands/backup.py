"""``datamover backup PATH... --to STORE``: copy files into a new archive."""

import sys

from datamover.cli.begin import begin_backup
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.progress import Display
from datamover.cli.secret import Passphrase
from datamover.cli.summary import finish
from datamover.codec.codec import Codec
from datamover.errors import UsageError
from datamover.mover import backup as mover
from datamover.mover.elsewhere import opened_store
from datamover.mover.rules import load_rules
from datamover.pipe.spec import OnDeath, parse_size

__all__ = ["backup"]


def backup(
    paths: list[str],
    /,
    *,
    to: str,
    name: str = "",
    exclude: list[str] | None = None,
    one_file_system: bool = False,
    codec: str | None = None,
    jobs: int = 0,
    chunk_size: str | None = None,
    rules: str | None = None,
    dry_run: bool = False,
    on_death: OnDeath = OnDeath.RETRY,
    fresh: bool = False,
    daemon: bool = False,
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> int:
    """Copy files and folders into a new archive of a store.

    Args:
        paths: Files and folders; each comes back under the name it has in its own folder.
        to: The store.
        name: What to call the archive; without a name it is found by its id.
        exclude: Leave out what matches this pattern; may be given many times.
        one_file_system: Do not go into folders that are on another file system.
        codec: zstd-1 to zstd-19, lz4-1 to lz4-12, gzip-1 to gzip-3, or none, for all files; by
            default what the placement rules say, else zstd-1.
        jobs: Tasks that read and that compress; 0: as many as there are processors.
        chunk_size: Size of a chunk file, such as 64MiB; by default what the rules say, else 64MiB.
        rules: A file of placement rules, instead of the store's `placement.toml`.
        dry_run: Read and count, but keep nothing.
        on_death: What happens when a task that can be replaced is killed: retry or stop.
        fresh: Discard what an interrupted run of this command left, and begin anew.
        daemon: Have the monitor of this user do it, which tries again until it works.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    size = None if chunk_size is None else parse_size(chunk_size)
    if size == 0 or jobs < 0:
        raise UsageError(reason="--chunk-size must be above 0, and --jobs not below it")
    settings = mover.BackupSettings(
        name=name,
        excludes=tuple(exclude or ()),
        one_file_system=one_file_system,
        codec="" if codec is None else str(Codec.parse(codec)),
        jobs=jobs,
        chunk_size=size or 0,
        dry_run=dry_run,
        rules=None if rules is None else load_rules(rules),
        on_death=on_death,
        fresh=fresh,
        forecast=sys.stderr.isatty() and not everywhere.quiet,
    )
    if daemon:
        return begin_backup(paths, to, settings, network.travel(), everywhere)
    passphrase = Passphrase(everywhere.passphrase_file)
    with opened_store(to, passphrase, network.travel()) as store, Display(everywhere) as display:
        summary = mover.backup(store, paths, settings, display)
    return finish(summary, everywhere)
