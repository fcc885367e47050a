"""``datamover restore [ARCHIVE] [PATH...] --from STORE --to DIR``: bring files back."""

from typing import Annotated

from cyclopts import Parameter

from datamover.cli.choose import choose
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.progress import Display
from datamover.cli.secret import Passphrase
from datamover.cli.summary import finish
from datamover.errors import UsageError
from datamover.mover import restore as mover
from datamover.mover.elsewhere import opened_store
from datamover.pipe.spec import OnDeath

__all__ = ["restore"]


def restore(
    names: Annotated[list[str] | None, Parameter(name="[ARCHIVE] [PATH...]")] = None,
    /,
    *,
    from_: Annotated[str, Parameter(name="--from")],
    to: str,
    overwrite: bool = False,
    numeric_ids: bool = False,
    no_sync: bool = False,
    jobs: int = 0,
    on_death: OnDeath = OnDeath.STOP,
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> int:
    """Bring an archive, or some paths of it, back below a folder.

    Args:
        names: An archive (its name, its id, or `latest`) and paths in it. When the first is no
            archive, it is a path too, and the latest archive is meant.
        from_: The store.
        to: The folder; what it lacks is made.
        overwrite: Replace what is already there; without it, it is left alone and reported.
        numeric_ids: Give files to the owner's number, not to the owner's name.
        no_sync: Do not wait until everything is on the disk.
        jobs: Tasks that expand and that write; 0: as many as there are processors.
        on_death: What happens when a task that can be replaced is killed: retry or stop.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    if jobs < 0:
        raise UsageError(reason="--jobs must not be below 0")
    settings = mover.RestoreSettings(
        overwrite=overwrite, numeric_ids=numeric_ids, sync=not no_sync, jobs=jobs, on_death=on_death
    )
    passphrase = Passphrase(everywhere.passphrase_file)
    with opened_store(from_, passphrase, network.travel()) as store, Display(everywhere) as display:
        archive, paths = choose(names or [], store.find)
        summary = mover.restore(store, archive, paths, to, settings, display)
    return finish(summary, everywhere)
