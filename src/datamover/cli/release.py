"""Which release this is."""

from __future__ import annotations

import datamover

__all__ = ["release"]


def release() -> str:
    """Return the program's name and version, as `--version` prints them."""
    return f"datamover {datamover.__version__}"
