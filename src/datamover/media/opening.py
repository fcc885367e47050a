"""Open a medium by its address, whatever kind it is.

Source: docs/spec/media-format.md, "Addresses"; SPEC F9, F13; ADR 0025.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.errors import UsageError
from datamover.media.address import MediumAddress
from datamover.media.directory import DirectoryMedium

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from datamover.media.medium import Medium

__all__ = ["open_medium"]


def open_medium(address: str) -> Medium:
    """Open the medium at ``address``; the caller closes it, or uses it as a context manager.

    Raises:
        UsageError: It is no address, of no kind that is known, or has options of another kind.

    Blocking: never; a medium is reached when it is first used.
    """
    parsed = MediumAddress.parse(address)
    kind = _KINDS.get(parsed.scheme)
    if kind is None:
        there = ", ".join(_KINDS)
        raise UsageError(reason=f"no medium is called {parsed.scheme:.40}; there are: {there}")
    return kind(parsed)


def _directory(address: MediumAddress) -> Medium:
    address.require_options()
    return DirectoryMedium(address.folder())


_KINDS: Final[Mapping[str, Callable[[MediumAddress], Medium]]] = {
    "file": _directory,
}
