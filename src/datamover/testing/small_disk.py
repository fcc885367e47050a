"""A file system of so many bytes, to be filled; only root can mount one.

Source: mount(8), tmpfs.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["small_disk"]


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount an empty file system of ``size``, as "2m", at ``place`` for a ``with`` block."""
    place.mkdir()
    mounted = subprocess.run(  # noqa: S603 - a command of the system
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.decode(errors='replace').strip()}")
    try:
        yield place
    finally:
        subprocess.run(["/bin/umount", "-l", place], check=True)  # noqa: S603 - likewise
