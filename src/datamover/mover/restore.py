"""Restore: an archive, or some paths of it, below a folder.

The pipe of the backup, reversed: it undoes what the archive's header declares, and each block's
tag says whether there is something to undo.

Source: seed, "Initiate_Pipe" (direction of flow), FIG. 8 (824, 826); SPEC F3, N9, U23.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Final

from datamover.errors import ArchiveMissingError
from datamover.files.selection import Selection, stand_ins
from datamover.monitor.pipe_socket import asked
from datamover.monitor.supervisor import Monitor
from datamover.mover.damage import Damage
from datamover.mover.declared import declared_transforms
from datamover.mover.job import Job, processors
from datamover.mover.listing import blocks_of, entries, superseded_in
from datamover.mover.pipes import READING_STAGES, load_stage, reading
from datamover.mover.report import Summary
from datamover.pipe.spec import OnDeath, StageSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.files.superseded import Superseded
    from datamover.mover.report import Watch
    from datamover.mover.store import Store

__all__ = ["RestoreSettings", "restore"]

_KIND: Final = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSettings:
    """How to restore.

    Attributes:
        overwrite: Replace what is in the way; without it, it stays, with a notice.
        numeric_ids: Use archived owners' numbers even where their names exist here.
        sync: Return only when everything is on the medium.
        jobs: Instances that expand; 0: one for each processor.
        on_death: What happens when a worker is killed.
    """

    overwrite: bool = False
    numeric_ids: bool = False
    sync: bool = True
    jobs: int = 0
    on_death: OnDeath = OnDeath.STOP


def restore(
    store: Store,
    archive: str | None,
    paths: Sequence[str],
    destination: str,
    settings: RestoreSettings,
    watch: Watch,
) -> Summary:
    """Bring an archive back below ``destination``.

    Args:
        store: Where from.
        archive: Its id, name, or the beginning of its id; None for the latest.
        paths: What of it; nothing for everything.
        destination: The folder; it is made if need be.
        settings: How.
        watch: Who looks on.

    Raises:
        ArchiveMissingError: There is no such archive, or no such path in it.
        StageFailedError: A stage ended abnormally; what was restored so far is there.
        StoreError: The store refuses.

    Blocking: until everything is restored, and durable unless ``settings.sync`` is off.
    """
    with (
        ExitStack() as stack,
        Monitor(preload=list(READING_STAGES)) as monitor,
        asked(monitor),
    ):
        monitor.warm_up()
        store.unlock_soon()
        record = store.find(archive)
        key = store.archive_key(record)
        wanted = [os.fsencode(path).removeprefix(b"./").strip(b"/") for path in paths]
        job = Job(_KIND, watch, monitor=monitor, counts="restore", places=store.depot.places)
        damage = Damage(store, record, key, job)
        chunks = store.depot.chunks(record.id)
        job.total_files = None if wanted else record.facts.files
        job.total_bytes = None if wanted else record.facts.bytes_in
        blocks: list[range] | None = None
        substitutes: dict[bytes, bytes] = {}
        if wanted:
            selection = Selection(wanted)
            substitutes = stand_ins(entries(store, record.id.hex()), selection)
            if selection.unseen:
                raise ArchiveMissingError(
                    store=store.depot.place,
                    reason=f"no such path in the archive: {os.fsdecode(selection.unseen[0])}",
                )
            blocks = blocks_of(store, record.id.hex(), wanted)
        tail = StageSpec(
            use="restore",
            settings={
                "destination": os.path.abspath(destination),  # noqa: PTH100 - links stay
                "selected": [os.fsdecode(one) for one in wanted],
                "stand_ins": [[os.fsdecode(a), os.fsdecode(b)] for a, b in substitutes.items()],
                "overwrite": settings.overwrite,
                "numeric_ids": settings.numeric_ids,
                "sync": settings.sync,
                "superseded": _listed(superseded_in(store, record), stack),
            },
        )
        spec = reading(
            name=_KIND,
            head=load_stage(store.depot, record.id, chunks, blocks),
            declared=declared_transforms(store, record, chunks),
            key=key,
            archive=record.id,
            jobs=settings.jobs or processors(),
            tail=tail,
            on_death=settings.on_death,
        )
        finished = job.run(spec)
        damage.tell(check_index=False)
        return Summary(
            job=_KIND,
            archive=record.id.hex(),
            name=store.label(record).name,
            files=finished.number("restore", "files"),
            directories=finished.number("restore", "directories"),
            others=finished.number("restore", "other"),
            bytes_in=finished.number("load", "bytes"),
            bytes_out=finished.number("restore", "bytes"),
            seconds=finished.seconds,
            notices=job.notices,
            stages=finished.stages,
        )


def _listed(superseded: Superseded, stack: ExitStack) -> str:
    """Keep in a file what the stage must know, which may be more than a setting holds."""
    if not superseded:
        return ""
    file = stack.enter_context(NamedTemporaryFile(prefix="datamover-"))  # noqa: SIM115 - it is
    file.write(superseded.encode())
    file.flush()
    return file.name
