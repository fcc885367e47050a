"""Make a destination like its sources: write, replace, link, touch and remove what blocks say.

Role:       tail
Instances:  one; files of several blocks need them in order
Copies:     the kernel's own, into its page cache; of large files into a staging area in its place
Fails:      on a table that breaks the format, and when the destination can take nothing more
Source:     docs/spec/copy-pipes.md; SPEC E1, U3, U10; DESIGN D14; ADR 0015
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from datamover.files.place import Place
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import get_tag
from datamover.stages.placing import Placing
from datamover.wire.tag import TagKind

if TYPE_CHECKING:
    from datamover.pipe.ports import TailPort
    from datamover.shm.buffer import Buffer

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="place", role=Role.TAIL, parallel=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the place stage.

    Attributes:
        destination: The folder that targets are in; made when missing.
        sources: The sources' own names, by number.
        targets: What each is called below the destination.
        origins: Absolute paths of the sources, where they are on this machine and their data is
            not in the blocks.
        removes: Remove what REMOVED entries name; without it, leftovers of earlier copies alone.
        numeric_ids: Use the source's user and group numbers even where their names exist here.
        sync: A name changes only when what it gets is on the medium; return when everything is.
        replaces: Something may be there already.
    """

    destination: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    origins: tuple[str, ...] = ()
    removes: bool = False
    numeric_ids: bool = False
    sync: bool = True
    replaces: bool = True


def run(port: TailPort, settings: Settings) -> None:
    """Place until the stage before has finished.

    Raises:
        UsageError: Sources and targets are not of one number.
        RestoreError: The destination cannot be used, or can take nothing more.
        FormatError: A block does not hold what its tag says, or a target leads out.
        PipeError: From the port.
    """

    def unmatched(root: int, name: bytes) -> None:
        port.notice("unmatched", root=root, path=name.hex())

    with Placing(
        port,
        settings.destination,
        sources=settings.sources,
        targets=settings.targets,
        origins=settings.origins,
        numeric_ids=settings.numeric_ids,
        sync=settings.sync,
        replaces=settings.replaces,
        failed=lambda *given: place.not_given(*given),  # noqa: PLW0108 - it comes later
    ) as placing:
        place = Place(
            placing.target,
            placing.naming,
            placing.notice,
            placing.attributes,
            placing.handover,
            removes=settings.removes,
            direct=settings.sync,
            transfer=placing.transfer,
            told=port.took,
            unmatched=unmatched,
        )
        with closing(place):
            for buffer in port.incoming():
                before = place.counts.files
                _obey(place, buffer)
                port.count(place.counts.files - before)
                port.free(buffer)
            place.finish()
        if settings.sync:
            placing.sync()
    port.result(asdict(place.counts))


def _obey(place: Place, buffer: Buffer) -> None:
    match get_tag(buffer).kind:
        case TagKind.DATA:
            place.block(buffer.payload)
        case TagKind.RAW:
            place.delta(buffer.payload)
        case _:
            return  # a newer source may send more
