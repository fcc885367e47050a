"""Open a medium by its address, whatever kind it is.

Source: docs/spec/media-format.md, "Addresses"; SPEC F9, F13; ADR 0025.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.errors import UsageError
from datamover.media.address import MediumAddress
from datamover.media.directory import DirectoryMedium
from datamover.units import GIB, KIB, MIB, Bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from datamover.media.label import Owner
    from datamover.media.medium import Medium
    from datamover.media.tape.drive import Changer

__all__ = ["open_medium"]


def open_medium(address: str, owner: Owner | None = None) -> Medium:
    """Open the medium at ``address``; the caller closes it, or uses it as a context manager.

    Args:
        address: Where it is.
        owner: Whose chunks it holds; what has no label yet gets one before its first chunk, and
            another's is not written to.  None: nobody's, and nothing is asked.

    Raises:
        UsageError: It is no address, of no kind that is known or installed, or has options of
            another kind.
        MediumRefusedError: A key is needed, and there is none in the environment.

    Blocking: never; a medium is reached when it is first used.
    """
    parsed = MediumAddress.parse(address)
    kind = _KINDS.get(parsed.scheme)
    if kind is None:
        there = ", ".join(_KINDS)
        raise UsageError(reason=f"no medium is called {parsed.scheme:.40}; there are: {there}")
    return kind(parsed, owner)


def _directory(address: MediumAddress, owner: Owner | None) -> Medium:
    address.require_options()
    return DirectoryMedium(address.folder(), owner)


def _objects(address: MediumAddress, owner: Owner | None) -> Medium:
    try:
        # Imported late: it is an extra, and costs its time to import.
        from datamover.media.object_store import ObjectMedium  # noqa: PLC0415 - as above
    except ImportError:
        raise UsageError(
            reason="object stores need the extra s3: pip install 'datamover[s3]'"
        ) from None
    return ObjectMedium(address, owner)


def _tapes(address: MediumAddress, owner: Owner | None) -> Medium:
    # Imported late: most stores have no tape.
    from datamover.media.tape.linux_drive import SingleDrive  # noqa: PLC0415 - as above
    from datamover.media.tape.medium import TapeMedium  # noqa: PLC0415 - as above
    from datamover.media.tape.virtual_library import VirtualLibrary  # noqa: PLC0415 - as above

    changer: Changer
    if address.scheme == "vtape":
        address.require_options("buffer", "high", "low")
        changer = VirtualLibrary(address.folder())
    else:
        address.require_options("buffer", "high", "low", "block", "fixed")
        block = address.size("block", Bytes(256 * KIB))
        fixed = address.options.get("fixed", "no")
        if not 64 * KIB <= block <= 8 * MIB or fixed not in {"yes", "no"}:
            raise UsageError(reason="block: from 64KiB to 8MiB; fixed: yes or no")
        changer = SingleDrive(address.folder(), block=block, is_fixed=fixed == "yes")
    buffer = address.size("buffer", Bytes(64 * MIB))
    high = address.size("high", Bytes(buffer // 4 * 3))
    low = address.size("low", Bytes(buffer // 4))
    if not 0 < low <= high <= buffer <= GIB:
        raise UsageError(reason="a tape's buffer is 1GiB at most, and low <= high <= buffer")
    return TapeMedium(changer, buffer=buffer, high=high, low=low, owner=owner)


_KINDS: Final[Mapping[str, Callable[[MediumAddress, Owner | None], Medium]]] = {
    "file": _directory,
    "s3": _objects,
    "tape": _tapes,
    "vtape": _tapes,
}
