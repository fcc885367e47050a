"""A file in memory is known, and so is one on a disk."""

from __future__ import annotations

import os
import subprocess

from datamover.disk.memory import is_in_memory


def test_shared_memory_is_in_memory() -> None:
    file = os.memfd_create("probe")
    try:
        assert is_in_memory(file)
    finally:
        os.close(file)


def test_what_the_system_says_of_a_folder_is_what_is_found(tmp_path) -> None:
    told = subprocess.run(
        ["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert is_in_memory(folder) == (told in {"tmpfs", "ramfs"})
    finally:
        os.close(folder)


def test_what_is_no_file_system_is_not_in_memory() -> None:
    assert not is_in_memory(-1)
