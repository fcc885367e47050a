"""The pipes of backup, restore and verify: which stages, in which order, with how many buffers.

    scan > (collect + inspect) xp > index > (checksum + compress + encrypt) xp > store
    load > (decrypt + expand + verify: the declared transforms, last first) xp > restore

What stands in brackets is joined: it runs in one task, p times.

Source: seed FIG. 7, FIG. 8; SPEC E1-E6, F2, F3, N9; docs/ARCHITECTURE.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import MalformedError
from datamover.pipe.spec import OnDeath, PipeSpec, StageSpec
from datamover.placement.route import Routing
from datamover.units import MIB
from datamover.wire.tag import TransformId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from datamover.catalog.rows import ChunkRecord
    from datamover.codec.codec import Codec
    from datamover.ids import ArchiveId
    from datamover.mover.depot import Depot

__all__ = [
    "BLOCK_SIZE",
    "READING_STAGES",
    "WRITING_STAGES",
    "load_stage",
    "reading",
    "writing",
]

BLOCK_SIZE: Final = 4 * MIB
"""Plain bytes of a block, and so of a buffer.

What a block costs beside its bytes is 0.7 ms, for who has just compressed one has nothing else in
the processor's caches; what a damaged bit costs is a block.
"""

WRITING_STAGES: Final = (
    "datamover.stages.head.scan",
    "datamover.stages.middle.collect",
    "datamover.stages.middle.inspect",
    "datamover.stages.middle.index",
    "datamover.stages.middle.checksum",
    "datamover.stages.middle.compress",
    "datamover.stages.middle.encrypt",
    "datamover.stages.tail.store",
)
"""What the fork server imports for a backup."""

READING_STAGES: Final = (
    "datamover.stages.head.load",
    "datamover.stages.middle.decrypt",
    "datamover.stages.middle.expand",
    "datamover.stages.middle.verify",
    "datamover.stages.tail.restore",
    "datamover.stages.tail.discard",
)
"""What the fork server imports for restoring and verifying."""

_INDEX_SHARE: Final = 2
_LEAST_HEAD_SHARE: Final = 5
_LEAST_WORKER_SHARE: Final = 3
_WORKERS_SHARE: Final = 10
# For copies of blocks that did not shrink: a cipher works where the block lies, and whoever takes
# the place of a worker that died must find it as it was.
_CIPHER_SHARE: Final = 2
# What goes to another machine is kept until that has it: as much as the other side grants.
_UNDER_WAY: Final = 16
_MOST_WORKERS: Final = 16

_ONE_ROUTE: Final = Routing()
_CIPHER_IDS: Final = {
    "aes-256-gcm": TransformId.AES_256_GCM,
    "chacha20-poly1305": TransformId.CHACHA20_POLY1305,
}
_INVERSES: Final[Mapping[int, str]] = {
    TransformId.ZSTD: "expand",
    TransformId.LZ4: "expand",
    TransformId.GZIP: "expand",
    TransformId.AES_256_GCM: "decrypt",
    TransformId.CHACHA20_POLY1305: "decrypt",
    TransformId.CRC32C: "verify",
}


def writing(
    *,
    roots: tuple[str, ...],
    excludes: tuple[str, ...],
    one_file_system: bool,
    codecs: Sequence[Codec],
    cipher: str,
    key: bytes,
    archive: bytes,
    jobs: int,
    tail: StageSpec,
    routing: Routing = _ONE_ROUTE,
    on_death: OnDeath = OnDeath.RETRY,
    first_block: int = 0,
    held: str = "",
    state: str = "",
) -> tuple[PipeSpec, tuple[int, ...]]:
    """Return the pipe of a backup, and the transforms that it declares.

    ``codecs`` has one for each route, the first for what takes no other.
    ``first_block``, ``held`` and ``state`` are for one that goes on; see ``scan`` and ``index``.
    """
    workers = max(1, min(jobs, _MOST_WORKERS))
    stages = [
        _stage(
            "scan",
            share=_head_share(workers),
            roots=roots,
            excludes=excludes,
            one_file_system=one_file_system,
            routing=msgspec.to_builtins(routing),
            first_block=first_block,
            held=held,
        ),
        _stage("collect", instances=workers, roots=roots),
        _stage("inspect", instances=workers, joined=True),
        _stage("index", share=_INDEX_SHARE, first_block=first_block, state=state),
        _stage("checksum", instances=workers),
    ]
    declared: list[int] = [TransformId.CRC32C]
    compressing = [one.transform for one in codecs if one.transform is not None]
    if compressing:
        stages.append(
            _stage(
                "compress",
                instances=workers,
                share=_worker_share(workers) + (-(-_UNDER_WAY // workers) if tail.at else 0),
                joined=True,
                codec=codecs[0].name,
                level=codecs[0].level,
                routes=[str(one) for one in codecs[1:]],
            )
        )
        # One stands for all: what undoes one of them undoes any, as each tag says.
        declared.append(compressing[0])
    if cipher != "none":
        stages.append(
            _stage(
                "encrypt",
                instances=workers,
                share=_CIPHER_SHARE,
                joined=True,
                key=key.hex(),
                archive=archive.hex(),
                cipher=cipher,
            )
        )
        declared.append(_CIPHER_IDS[cipher])
    # A worker that the system kills for its memory must not end a backup.
    return _pipe("backup", [*stages, tail], on_death), tuple(declared)


def reading(
    *,
    name: str,
    head: StageSpec,
    declared: Iterable[int],
    key: bytes,
    archive: bytes,
    jobs: int,
    tail: StageSpec,
    on_death: OnDeath = OnDeath.STOP,
) -> PipeSpec:
    """Return the pipe that undoes what an archive declares, last transform first.

    Raises:
        MalformedError: The archive declares what this release does not know.
    """
    workers = max(1, min(jobs, _MOST_WORKERS))
    share = _head_share(workers) + (_UNDER_WAY if head.at else 0)
    stages = [msgspec.structs.replace(head, share=share)]
    undone = list(declared)
    if key and not any(_INVERSES.get(one) == "decrypt" for one in undone):
        # The header is not sealed: what it leaves out must not keep blocks from being checked.
        undone.append(TransformId.AES_256_GCM)
    for transform in reversed(undone):
        joined = len(stages) > 1
        match _INVERSES.get(transform):
            case "expand":
                stages.append(
                    _stage("expand", instances=workers, share=_worker_share(workers), joined=joined)
                )
            case "decrypt":
                stages.append(
                    _stage(
                        "decrypt",
                        instances=workers,
                        share=_CIPHER_SHARE if on_death is OnDeath.RETRY else 0,
                        joined=joined,
                        key=key.hex(),
                        archive=archive.hex(),
                        required=True,
                    )
                )
            case "verify":
                stages.append(_stage("verify", instances=workers, joined=joined))
            case _:
                raise MalformedError(what="archive header", reason=f"transform {transform}")
    return _pipe(name, [*stages, tail], on_death)


def load_stage(
    depot: Depot,
    archive: ArchiveId,
    chunks: Sequence[ChunkRecord],
    blocks: Sequence[range] | None,
) -> StageSpec:
    """Return the head that reads an archive's chunks; ``blocks``: only these."""
    wanted = [
        chunk
        for chunk in chunks
        if blocks is None
        or any(
            one.start < chunk.first_block + chunk.blocks and chunk.first_block < one.stop
            for one in blocks
        )
    ]
    return _stage(
        "load",
        at=depot.machine,
        directory=depot.directory,
        archive=archive.hex(),
        chunks=[chunk.name for chunk in wanted],
        extents=[(chunk.first_block, chunk.first_block + chunk.blocks) for chunk in wanted],
        ranges=[(one.start, one.stop) for one in blocks or ()],
    )


def _stage(
    use: str,
    *,
    instances: int = 1,
    share: int = 0,
    joined: bool = False,
    at: str = "",
    **settings: object,
) -> StageSpec:
    return StageSpec(
        use=use, instances=instances, share=share, joined=joined, at=at, settings=_plain(settings)
    )


def _head_share(workers: int) -> int:
    """Return the first allocator's share: its buffers are in every stage up to the compressors.

    One for each of those who read and who compress, and one on its way: more would only be longer
    out of the processor's caches.
    """
    return max(_LEAST_HEAD_SHARE, 2 * workers + 1)


def _worker_share(workers: int) -> int:
    """Return a compressor's share: enough to go on while the disk takes a write.

    And while another one takes four times as long for its block, having less of a processor: what
    comes after that block waits for it.
    """
    return max(_LEAST_WORKER_SHARE, _WORKERS_SHARE // workers)


def _plain(settings: Mapping[str, object]) -> dict[str, object]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}


def _pipe(name: str, stages: list[StageSpec], on_death: OnDeath) -> PipeSpec:
    buffers = sum(stage.share * stage.instances for stage in stages)
    return PipeSpec(
        name=name,
        stages=tuple(stages),
        buffers=buffers,
        buffer_size=BLOCK_SIZE,
        on_death=on_death,
    )
