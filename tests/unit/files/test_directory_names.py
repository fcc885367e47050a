"""Names come in byte order, each once, whatever the size of the directory is."""

from __future__ import annotations

import os
import random

import pytest

from datamover.files import names as module
from datamover.files.names import Names

LARGE = 8 << 20


def read(directory, size=0, during=lambda: None):
    """All names in the order of their use, and the most that were in memory at once."""
    names, found, most = Names.of(directory, size), [], 0
    while names.left or names.read_on(directory):
        most = max(most, len(names.left))
        while names.left:
            found.append(names.left.pop())
        during()
    return found, most


@pytest.fixture
def directory(tmp_path):
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def fill(tmp_path, count):
    numbers = random.Random(count).sample(range(10_000), count)
    made = [b"%d\xff" % number for number in numbers]
    for name in made:
        (
            os.fsencode(tmp_path) + b"/" + name,
            os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT)),
        )
    return sorted(made)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 15, 16, 17, 100])
def test_a_large_directory_is_read_in_parts(tmp_path, directory, monkeypatch, count) -> None:
    monkeypatch.setattr(module, "_PART", 8)
    expected = fill(tmp_path, count)

    found, most = read(directory, LARGE)

    assert found == expected
    assert most < 16


def test_a_usual_directory_is_read_at_once(tmp_path, directory) -> None:
    expected = fill(tmp_path, 50)

    assert read(directory) == (expected, 50)


def test_names_that_come_and_go_between_two_parts_disturb_no_others(
    tmp_path, directory, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_PART", 4)
    expected = fill(tmp_path, 60)
    gone = expected[40]

    def change() -> None:
        (tmp_path / os.fsdecode(gone)).unlink(missing_ok=True)
        (tmp_path / "0 early").touch()
        (tmp_path / "~ late").touch()

    found, _ = read(directory, LARGE, change)

    assert [name for name in found if name not in {b"0 early", b"~ late"}] == [
        name for name in expected if name != gone
    ]
    assert found[-1] == b"~ late"
