"""Decrypt each block where it lies, where encryption is what was done last.

Role:       middle
Instances:  any
Copies:     none
Fails:      never on data; a block whose seal does not match, or that has none and must have one, is
            dropped and reported
Death:      replaced; works on copies then
Source:     SPEC E3, F3; DESIGN D10; docs/spec/keys.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from datamover.codec.envelope import open_block
from datamover.codec.keys import read_hex
from datamover.codec.registry import CIPHERS, make_cipher
from datamover.errors import FormatError, SealError
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import get_tag, set_tag, top_transform
from datamover.stages.damage import drop_damaged
from datamover.wire.record import ID_SIZE
from datamover.wire.tag import TagKind

if TYPE_CHECKING:
    from datamover.codec.cipher import Cipher
    from datamover.pipe.ports import MiddlePort
    from datamover.shm.buffer import Buffer
    from datamover.wire.tag import TagHeader

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="decrypt", role=Role.MIDDLE, replayable=True, overwrites=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one decrypt stage; the cipher and the layer are in the tags.

    Attributes:
        key: The archive's key, 64 hexadecimal digits.
        archive: The archive's id, 32 hexadecimal digits.
        required: A block that is not sealed when it comes here is damaged, and dropped: whoever can
            write to a medium could put his own in the place of a sealed one.
    """

    key: str = field(repr=False)
    archive: str
    required: bool = False


def run(port: MiddlePort, settings: Settings) -> None:
    """Decrypt until the stage before has finished.

    Raises:
        UsageError: A setting makes no sense; nothing was received.
        FormatError: A buffer's tag cannot be read.
        PipeError: From the port.
    """
    key = read_hex("key", settings.key)
    archive = read_hex("archive", settings.archive, size=ID_SIZE)
    ciphers = {int(number): make_cipher(name, key) for name, number in CIPHERS.items()}
    for buffer in port.incoming():
        tag = get_tag(buffer)
        cipher = ciphers.get(top_transform(tag) or 0)
        if cipher is None and settings.required and tag.kind != TagKind.LOST:
            drop_damaged(port, buffer, tag, "it is not sealed")
        elif cipher is None:
            port.send(buffer)
        else:
            _decrypt(port, cipher, archive, buffer, tag)


def _decrypt(
    port: MiddlePort, cipher: Cipher, archive: bytes, buffer: Buffer, tag: TagHeader
) -> None:
    try:
        below = open_block(tag, buffer.data, cipher=cipher, archive=archive)
    except (SealError, FormatError):
        drop_damaged(port, buffer, tag, "seal does not match")
        return
    buffer.used = below.length
    set_tag(buffer, below)
    port.send(buffer)
