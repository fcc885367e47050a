"""Which codec a name or a wire id stands for.

Names are what people write; ids are what tags carry (docs/spec/wire-format.md, "Transforms").

Source: SPEC G5 (algorithm selector 910), F8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.codec.cipher import Cipher
from datamover.codec.gzip import Gzip
from datamover.codec.lz4 import Lz4
from datamover.codec.zstd import Zstd
from datamover.errors import UsageError
from datamover.wire.tag import TransformId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from datamover.codec.compressor import Compressor

__all__ = [
    "CIPHERS",
    "COMPRESSORS",
    "NO_COMPRESSION",
    "make_cipher",
    "make_compressor",
    "make_expanders",
]

NO_COMPRESSION: Final = "none"

CIPHERS: Final[Mapping[str, TransformId]] = {
    "aes-256-gcm": TransformId.AES_256_GCM,
    "chacha20-poly1305": TransformId.CHACHA20_POLY1305,
}

COMPRESSORS: Final[Mapping[str, Callable[[int], Compressor]]] = {
    "gzip": Gzip,
    "lz4": Lz4,
    "zstd": Zstd,
}


def make_compressor(name: str, level: int) -> Compressor | None:
    """Return a new compressor; None for "none".

    Raises:
        UsageError: No such compressor, or it has no such level.
    """
    if name == NO_COMPRESSION:
        return None
    if name not in COMPRESSORS:
        known = ", ".join([*COMPRESSORS, NO_COMPRESSION])
        raise UsageError(reason=f"no compression {name!r:.40}: {known}")
    return COMPRESSORS[name](level)


def make_expanders() -> dict[int, Compressor]:
    """Return a new compressor for each wire id, for one task to expand with."""
    return {one.id: one for one in (make(1) for make in COMPRESSORS.values())}


def make_cipher(name: str, key: bytes) -> Cipher:
    """Return a cipher by its name.

    Raises:
        UsageError: No such cipher, or ``key`` has not 32 bytes.
    """
    if name not in CIPHERS:
        raise UsageError(reason=f"no cipher {name!r:.40}: {', '.join(CIPHERS)}")
    return Cipher(CIPHERS[name], key)
