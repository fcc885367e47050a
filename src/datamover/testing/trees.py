"""Trees of every kind of file with odd names, and a comparison that says where two differ.

``make_tree`` is deterministic: the same seed makes the same tree on any machine, as far as its file
system can hold it (device nodes and foreign owners need root, extended attributes need support).

Source: SPEC U10; docs/STYLE.md, "Tests".
"""

# Names are any bytes here, which pathlib does not hold.
# ruff: noqa: PTH101, PTH103, PTH115, PTH118, PTH123, PTH211
from __future__ import annotations

import os
import stat
from contextlib import suppress
from itertools import zip_longest
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ODD_NAMES", "assert_same_tree", "make_tree", "tree_differences"]

ODD_NAMES: Final = (
    b" ",
    b"-rf",
    b"...",
    b"~",
    b"*?[a]{b}",
    b"new\nline",
    b"tab\tand\x01control",
    b"quote'\"`$HOME",
    b"back\\slash",
    b"\xff\xfe not utf-8 \x80",
    b"only\xc3",
    "é composed".encode(),
    "e\u0301 decomposed".encode(),
    "\U0001f9ea 試験".encode(),
    b"x" * 255,
)
"""Names that a tool which splits, quotes, decodes or normalizes gets wrong."""

_WORDS: Final = b"the quick brown fox jumps over a lazy dog and runs away from it ".split()
_MAX_DIFFERENCES: Final = 20
_READ: Final = 1 << 20
_SPARSE_SLACK: Final = 1 << 16


def make_tree(path: Path, seed: int, *, files: int = 40, large: int = 3 << 20) -> Path:
    """Fill ``path`` with a tree of every file kind; return ``path``.

    Args:
        path: made when missing; must be empty.
        seed: chooses contents, sizes, modes and times.
        files: plain files beside the special ones.
        large: bytes of the largest plain file.
    """
    random = Random(seed)  # noqa: S311  test data has to repeat, not to be secret
    root = os.fsencode(path)
    os.makedirs(root, exist_ok=True)
    folders = _make_folders(root, random)
    for number in range(files):
        size = large if number == 0 else _size(random)
        _write(os.path.join(random.choice(folders), b"file-%04d" % number), size, random)
    for name in ODD_NAMES:
        _write(os.path.join(folders[1], name), random.randrange(200), random)
    _make_links(root, random)
    _make_special(root, random)
    _make_sparse(root)
    _set_metadata(root, random)
    return path


def assert_same_tree(expected: Path, actual: Path, *, metadata: bool = True) -> None:
    """Compare two trees byte for byte, and their metadata.

    Args:
        expected: what it should be.
        actual: what it is.
        metadata: also compare owners, modes, times, attributes, hard links and holes.

    Raises:
        AssertionError: They differ; it names the first differences.
    """
    found = tree_differences(expected, actual, metadata=metadata)
    assert not found, f"{expected} and {actual} differ:\n  " + "\n  ".join(found)


def tree_differences(expected: Path, actual: Path, *, metadata: bool = True) -> list[str]:
    """Return what differs, a line each, at most the first twenty."""
    a, b = os.fsencode(expected), os.fsencode(actual)
    left, right = set(_walk(a)), set(_walk(b))
    found = [f"missing: {name!r}" for name in sorted(left - right)]
    found += [f"surplus: {name!r}" for name in sorted(right - left)]
    for name in sorted(left & right):
        if len(found) >= _MAX_DIFFERENCES:
            break
        x, y = os.path.join(a, name), os.path.join(b, name)
        found += [f"{name!r}: {what}" for what in _compare(x, y, metadata=metadata)]
    if metadata:
        found += _compare_links(a, b, left & right)
    return found[:_MAX_DIFFERENCES]


def _make_folders(root: bytes, random: Random) -> list[bytes]:
    names = [b"plain", b"odd names", b"deep/" + b"/".join(b"%d" % n for n in range(12)), b"empty"]
    names += [b"dir-%d/sub-%d" % (random.randrange(4), n) for n in range(6)]
    folders = [os.path.join(root, name) for name in names]
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
    return [folder for folder in folders if not folder.endswith(b"empty")]


def _size(random: Random) -> int:
    """Mostly small, some of a few blocks, with the borders that programs get wrong."""
    borders = (0, 1, 511, 512, 4095, 4096, 4097, 65_535, 65_536, 65_537)
    kind = random.random()
    if kind < 0.25:
        return random.choice(borders)
    return random.randrange(8_000) if kind < 0.85 else random.randrange(400_000)


def _write(path: bytes, size: int, random: Random) -> None:
    """Every third file is noise, the others compress."""
    if random.random() < 0.33:
        data = random.randbytes(size)
    else:
        words = b" ".join(random.choice(_WORDS) for _ in range(300))
        data = (words * (size // len(words) + 1))[:size]
    with open(path, "wb") as file:
        file.write(data)


def _make_links(root: bytes, random: Random) -> None:
    links = os.path.join(root, b"links")
    os.makedirs(links)
    first = os.path.join(links, b"original")
    _write(first, 5_000, random)
    for number in range(3):
        os.link(first, os.path.join(links, b"hard-%d" % number))
    os.link(first, os.path.join(root, b"plain", b"hard across folders"))
    targets = (b"original", b"../plain", b"/nowhere/at all", b"self", b"\xff\n", b"t" * 1023)
    for number, target in enumerate(targets):
        os.symlink(target, os.path.join(links, b"self" if target == b"self" else b"%d" % number))


def _make_special(root: bytes, random: Random) -> None:
    special = os.path.join(root, b"special")
    os.makedirs(special)
    os.mkfifo(os.path.join(special, b"fifo"))
    path = os.path.join(special, b"attributes")
    _write(path, 100, random)
    with suppress(OSError):  # this file system has no attributes; the rest is as good
        os.setxattr(path, b"user.plain", b"value")
        os.setxattr(path, b"user.binary", random.randbytes(300))
        os.setxattr(special, b"user.on a folder", b"")
    with suppress(PermissionError):  # only root makes device nodes, and not in every container
        os.mknod(os.path.join(special, b"null"), stat.S_IFCHR | 0o640, os.makedev(1, 3))
        os.mknod(os.path.join(special, b"loop"), stat.S_IFBLK | 0o600, os.makedev(7, 99))


def _make_sparse(root: bytes) -> None:
    """Holes in front, between and behind data, and a file that is nothing but a hole."""
    for name, size, places in (
        (b"sparse", 4 << 20, (1 << 20, 2 << 20, (3 << 20) + 5)),
        (b"hole", 2 << 20, ()),
        (b"hole-behind", 1 << 20, (0,)),
    ):
        with open(os.path.join(root, b"special", name), "wb") as file:
            for place in places:
                file.seek(place)
                file.write(b"island" * 1000)
            file.truncate(size)


def _set_metadata(root: bytes, random: Random) -> None:
    """Deepest first, so that what is done inside a folder does not touch its times again."""
    is_root = os.geteuid() == 0
    for name in sorted(_walk(root), key=lambda name: name.count(b"/") + bool(name), reverse=True):
        path = os.path.join(root, name)
        mode = os.lstat(path).st_mode
        if is_root and random.random() < 0.3:
            os.chown(
                path, random.randrange(70_000), random.randrange(70_000), follow_symlinks=False
            )
        if stat.S_ISDIR(mode):
            os.chmod(path, random.choice((0o755, 0o700, 0o1777, 0o2750)))
        elif not stat.S_ISLNK(mode):
            os.chmod(path, random.choice((0o644, 0o600, 0o444, 0o4755, 0o2644)))
        # Before 1970, and past what 32 bits hold.
        seconds = random.choice((random.randrange(1 << 30, 1 << 31), -86_400, (1 << 31) + 12))
        when = seconds * 1_000_000_000 + random.randrange(1_000_000_000)
        os.utime(path, ns=(when, when), follow_symlinks=False)


def _walk(root: bytes) -> Iterator[bytes]:
    """Yield every name below ``root``, and b"" for itself; a loop, for trees may be deep."""
    yield b""
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                name = os.path.join(folder, entry.name)
                yield name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)


def _compare(x: bytes, y: bytes, *, metadata: bool) -> Iterator[str]:
    a, b = os.lstat(x), os.lstat(y)
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
        yield f"kind {stat.filemode(a.st_mode)} became {stat.filemode(b.st_mode)}"
        return
    if stat.S_ISREG(a.st_mode):
        yield from _compare_bytes(x, y)
    if stat.S_ISLNK(a.st_mode) and os.readlink(x) != os.readlink(y):
        yield f"target {os.readlink(x)!r} became {os.readlink(y)!r}"
    if metadata:
        yield from _compare_metadata(x, y, a, b)


def _compare_bytes(x: bytes, y: bytes) -> Iterator[str]:
    with open(x, "rb") as left, open(y, "rb") as right:
        place = 0
        for a, b in zip_longest(
            iter(lambda: left.read(_READ), b""), iter(lambda: right.read(_READ), b"")
        ):
            if a != b:
                yield f"bytes differ at or after {place}"
                return
            place += len(a)


def _compare_metadata(x: bytes, y: bytes, a: os.stat_result, b: os.stat_result) -> Iterator[str]:
    if stat.S_IMODE(a.st_mode) != stat.S_IMODE(b.st_mode):
        yield f"mode {stat.S_IMODE(a.st_mode):o} became {stat.S_IMODE(b.st_mode):o}"
    if os.geteuid() == 0 and (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid):
        yield f"owner {a.st_uid}:{a.st_gid} became {b.st_uid}:{b.st_gid}"
    if a.st_mtime_ns != b.st_mtime_ns:
        yield f"time {a.st_mtime_ns} became {b.st_mtime_ns} ns"
    if a.st_rdev != b.st_rdev:
        yield f"device {a.st_rdev:#x} became {b.st_rdev:#x}"
    if _attributes(x) != _attributes(y):
        yield f"attributes {_attributes(x)} became {_attributes(y)}"
    # Holes may move to block borders, but a sparse file must not come back filled.
    is_sparse = stat.S_ISREG(a.st_mode) and a.st_blocks * 512 + _SPARSE_SLACK < a.st_size
    if is_sparse and b.st_blocks * 512 > a.st_blocks * 512 + 4 * _SPARSE_SLACK:
        yield f"sparse, {a.st_blocks * 512} bytes allocated became {b.st_blocks * 512}"


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError:  # no support here
        return {}


def _compare_links(a: bytes, b: bytes, names: set[bytes]) -> Iterator[str]:
    """Names that were one file must be one file again, and no others."""
    for group in {frozenset(g) for g in _links(a, names)} ^ {
        frozenset(g) for g in _links(b, names)
    }:
        yield f"hard links: {sorted(group)!r} are one file on one side only"


def _links(root: bytes, names: set[bytes]) -> list[list[bytes]]:
    groups: dict[tuple[int, int], list[bytes]] = {}
    for name in sorted(names):
        about = os.lstat(os.path.join(root, name))
        if about.st_nlink > 1 and not stat.S_ISDIR(about.st_mode):
            groups.setdefault((about.st_dev, about.st_ino), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
