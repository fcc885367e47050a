"""Verify: read everything that is stored, undo every transform, and say what is damaged.

Source: SPEC G7, U11; docs/spec/wire-format.md, "After damage".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import ArchiveState
from datamover.errors import DamagedError
from datamover.monitor.pipe_socket import asked
from datamover.monitor.supervisor import Monitor
from datamover.mover.damage import Damage
from datamover.mover.declared import declared_transforms
from datamover.mover.job import Job, processors
from datamover.mover.pipes import READING_STAGES, load_stage, reading
from datamover.mover.report import Summary
from datamover.pipe.spec import OnDeath, StageSpec

if TYPE_CHECKING:
    from datamover.catalog.rows import ArchiveRecord
    from datamover.mover.job import Finished
    from datamover.mover.report import Watch
    from datamover.mover.store import Store

__all__ = ["verify"]

_KIND: Final = "verify"


def verify(
    store: Store, archive: str | None, watch: Watch, *, on_death: OnDeath = OnDeath.STOP
) -> Summary:
    """Check one archive, or all of them; damage is told as notices.

    Args:
        store: The store.
        archive: Its id, name, or the beginning of its id; None for all.
        watch: Who looks on, and is told what is damaged: chunk, block, offset and paths.
        on_death: What happens when a worker is killed.

    Raises:
        ArchiveMissingError: There is no such archive.
        StageFailedError: A stage ended abnormally.
        StoreError: The store refuses.

    Blocking: until everything was read.
    """
    started = time.monotonic()
    with Monitor(preload=list(READING_STAGES)) as monitor, asked(monitor):
        monitor.warm_up()
        store.unlock_soon()
        records = (
            store.depot.archives(ArchiveState.COMPLETE)
            if archive is None
            else [store.find(archive)]
        )
        job = Job(_KIND, watch, monitor=monitor, counts="load", places=store.depot.places)
        job.total_bytes = sum(record.facts.bytes_stored for record in records)
        done = [_verify(store, record, job, on_death) for record in records]
    finished = [one for one in done if one is not None]
    return Summary(
        job=_KIND,
        archive=records[0].id.hex() if len(records) == 1 else "",
        name=store.label(records[0]).name if len(records) == 1 else "",
        files=sum(record.facts.files for record in records),
        directories=sum(record.facts.directories for record in records),
        others=sum(record.facts.others for record in records),
        bytes_in=sum(one.number("load", "bytes") for one in finished),
        bytes_out=sum(one.number("discard", "bytes") for one in finished),
        seconds=time.monotonic() - started,
        notices=job.notices,
        stages=finished[-1].stages if finished else (),
    )


def _verify(store: Store, record: ArchiveRecord, job: Job, on_death: OnDeath) -> Finished | None:
    key = store.archive_key(record)
    damage = Damage(store, record, key, job)
    chunks = store.depot.chunks(record.id)
    try:
        declared = declared_transforms(store, record, chunks)
    except DamagedError as error:
        job.tell("load", "damaged", {"reason": str(error)})
        return None
    spec = reading(
        name=_KIND,
        head=load_stage(store.depot, record.id, chunks, None),
        declared=declared,
        key=key,
        archive=record.id,
        jobs=processors(),
        tail=StageSpec(use="discard"),
        on_death=on_death,
    )
    finished = job.run(spec)
    damage.tell(check_index=True)
    return finished
