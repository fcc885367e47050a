"""Data sets, made once a machine and kept: a large tar, many small files, very many tiny ones."""

from __future__ import annotations

import hashlib
import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from measure import cache

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["large_tar", "mean_size", "small_files", "tiny_files", "unpacked", "warm"]

_FILLER = 256 << 20


def large_tar(megabytes: int) -> Path:
    """A tar of the system's libraries and programs, of about that size."""
    path = cache() / f"system-{megabytes}.tar"
    if not path.exists():
        names, left = [], megabytes * 10**6
        for name, size in _files("/usr/lib", "/usr/bin", "/usr/share", sys.base_prefix):
            if size <= left:
                names.append(name)
                left -= size
            if left < 10**5:
                break
        listing = path.with_suffix(".names")
        listing.write_bytes(b"\0".join(map(os.fsencode, sorted(names))))
        part = path.with_suffix(".part")
        tar = ["tar", "--null", "--no-recursion", "-T", str(listing), "-cPf", str(part)]
        subprocess.run(tar, check=True)
        part.rename(path)
        os.sync()
    return path


def unpacked(megabytes: int) -> Path:
    """What is in ``large_tar``, as a tree of files."""
    path = cache() / f"system-{megabytes}"
    done = path.with_suffix(".done")
    if not done.exists():
        path.mkdir(exist_ok=True)
        subprocess.run(["tar", "-xf", str(large_tar(megabytes)), "-C", str(path)], check=True)
        done.touch()
        os.sync()
    return path


def small_files(count: int) -> Path:
    """A tree of ``count`` small files copied from the system, again and again until it is full.

    Only files under 64 KiB: their mean is about 5-6 KB, as in source trees and home folders.
    """
    path = cache() / f"small-{count}"
    done = path.with_suffix(".done")
    if not done.exists():
        roots = ("/usr/share", "/usr/include", "/usr/lib", sys.base_prefix)
        source = [name for name, size in _files(*roots) if size < 65536]
        for number in range(count):
            name = source[number % len(source)]
            target = Path(f"{path}/{number // len(source)}{name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(name).read_bytes())
        done.touch()
        os.sync()
    return path


def tiny_files(count: int) -> Path:
    """A tree of ``count`` files of 0 to 200 bytes, 500 a folder: what counts is their number.

    And one file that is larger than any pool: a buffer that was never used takes no memory, so few
    tiny files alone would seem to need less than many.
    """
    path = cache() / f"tiny-{count}"
    done = path.with_suffix(".done")
    if not done.exists():
        noise, choose = random.Random(1).randbytes(4096), random.Random(2)
        for first in range(0, count, 500):
            folder = f"{path}/{first // 50_000:04}/{first // 500:05}"
            os.makedirs(folder, exist_ok=True)
            here = os.open(folder, os.O_RDONLY)
            for number in range(first, min(first + 500, count)):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                file = os.open(f"file-{number:07}.txt", flags, 0o644, dir_fd=here)
                start = choose.randrange(3000)
                os.write(file, noise[start : start + choose.randrange(200)])
                os.close(file)
            os.close(here)
        done.touch()
        os.sync()
    filler = path / "filler"
    if not filler.exists():
        # Five bits of each byte: it is compressed, and not to next to nothing.
        words = bytes(each % 32 + 64 for each in range(256))
        more = random.Random(3)
        with filler.open("wb") as file:
            for _ in range(_FILLER >> 20):
                file.write(more.randbytes(1 << 20).translate(words))
        os.sync()
    return path


def mean_size(tree: Path) -> tuple[int, int]:
    """Return the number of files below ``tree``, or 1 for a file, and their bytes."""
    if tree.is_file():
        return 1, tree.stat().st_size
    sizes = [size for _, size in _files(str(tree), every=True)]
    return len(sizes), sum(sizes)


def warm(path: Path) -> None:
    """Bring it into the page cache, as far as it fits."""
    # Not with tar, which knows /dev/null when it sees it, and then reads nothing.
    command = ["find", str(path), "-type", "f", "-exec", "cat", "{}", "+"]
    subprocess.run(command, stdout=_null(), stderr=_null(), check=False)


def _null() -> int:
    return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)


def _files(*roots: str, every: bool = False) -> Iterator[tuple[str, int]]:
    """Yield (path, size) of regular files, in an order that is the same everywhere but mixed."""
    found = []
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                about = os.lstat(path)
                if stat.S_ISREG(about.st_mode) and (every or os.access(path, os.R_OK)):
                    found.append((path, about.st_size))
    if not every:
        found.sort(key=lambda one: hashlib.blake2b(os.fsencode(one[0])).digest())
    return iter(found)
