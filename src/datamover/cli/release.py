"""Which release this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["release"]


def release() -> str:
    """Return the version that is installed; a checkout that is not installed says so."""
    try:
        return version("datamover")
    except PackageNotFoundError:
        return "(not installed)"
