"""Compress each block into a fresh buffer.

Role:       middle, allocating
Instances:  any
Copies:     one, made by the compressor itself
Fails:      never on data; a block that would not shrink goes on unchanged
Death:      replaced
Source:     seed FIG. 4B (an allocating middle module); FIG. 9, 904 and 910; SPEC E2, G2, G5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.codec.codec import Codec
from datamover.codec.registry import make_compressor
from datamover.codec.sample import incompressible
from datamover.pipe.stage import Role, StageInfo
from datamover.placement.route import route_of
from datamover.stages.block import get_tag, push_transform, set_tag

if TYPE_CHECKING:
    from datamover.codec.compressor import Compressor
    from datamover.pipe.ports import MiddlePort
    from datamover.shm.buffer import Buffer

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="compress", role=Role.MIDDLE, allocates=True, replayable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one compress stage.

    Attributes:
        codec: "zstd", "lz4", "gzip" or "none".
        level: zstd 1 to 19, lz4 1 to 12, gzip 1 to 3.
        routes: The codec of each route but the first, with its level, such as "zstd-9"; a block
            whose tag names no route has the codec above.
    """

    codec: str = "zstd"
    level: int = 1
    routes: tuple[str, ...] = ()


def run(port: MiddlePort, settings: Settings) -> None:
    """Compress until the stage before has finished.

    Raises:
        UsageError: No such codec or level; nothing was received.
        FormatError: A block's tag names a route that is not there.
        PipeError: From the port.
    """
    compressor = make_compressor(settings.codec, settings.level)
    codecs = map(Codec.parse, settings.routes)
    by_route = [compressor, *(make_compressor(one.name, one.level) for one in codecs)]
    for plain in port.incoming():
        if settings.routes:
            compressor = by_route[route_of(get_tag(plain), len(by_route))]
        if compressor is None or incompressible(plain.payload):
            port.send(plain)
        else:
            _compress(port, compressor, plain)


def _compress(port: MiddlePort, compressor: Compressor, plain: Buffer) -> None:
    packed = port.alloc()
    size = compressor.compress_into(plain.payload, packed.data)
    if size is None:
        port.free(packed)
        port.send(plain)
        return
    packed.used = size
    tag = push_transform(get_tag(plain), compressor.id, parameter=compressor.level, length=size)
    set_tag(packed, tag)
    port.free(plain)
    port.send(packed)
