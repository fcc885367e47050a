"""A label says whose a volume is and how to open it, or that it is damaged."""

from __future__ import annotations

import pytest

from datamover.errors import DataMoverError, FormatError, MalformedError, StoreError
from datamover.ids import StoreId
from datamover.media.directory import DirectoryMedium
from datamover.media.label import Owner, VolumeLabel
from datamover.testing.media import read_chunk, store_chunk

MINE = Owner(store=StoreId(b"m" * 16), description=b'{"cipher": "none"}')
OTHER = Owner(store=StoreId(b"o" * 16))


def test_a_label_comes_back_as_it_was():
    label = MINE.label("Schrank 7", 3)

    assert VolumeLabel.decode(memoryview(label.encode() + b"behind")) == label


def test_every_flipped_bit_is_found():
    whole = MINE.label("V00001", 3).encode()
    for bit in range(len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            VolumeLabel.decode(memoryview(data))


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_a_label_that_is_cut_is_none(cut):
    with pytest.raises(FormatError):
        VolumeLabel.decode(memoryview(MINE.label("V00001").encode()[:-cut]))


@pytest.mark.parametrize(
    "given", [{"name": "x" * 201}, {"description": b"x" * 70_000}, {"store": b"short"}]
)
def test_what_does_not_fit_is_refused(given):
    with pytest.raises(MalformedError):
        VolumeLabel(**{"store": MINE.store, "created_ns": 1, **given}).encode()


def test_a_folder_is_labelled_once_and_not_given_to_another_store(tmp_path):
    with DirectoryMedium(tmp_path, MINE) as medium:
        store_chunk(medium, "a.dmc", b"a")
        label = medium.label()
    with DirectoryMedium(tmp_path, MINE) as medium:
        store_chunk(medium, "b.dmc", b"b")
        assert medium.label() == label
    with DirectoryMedium(tmp_path, OTHER) as medium:
        for _ in range(2):
            with pytest.raises(StoreError, match="belongs to store 6d6d"):
                medium.create("c.dmc")
        assert read_chunk(medium, "a.dmc") == b"a"

    assert (label.store, label.description) == (MINE.store, MINE.description)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chunks", "label", "tmp"]


def test_a_folder_with_a_damaged_label_is_not_written_to(tmp_path):
    (tmp_path / "label").write_bytes(b"damaged")
    with DirectoryMedium(tmp_path, MINE) as medium, pytest.raises(DataMoverError):
        medium.create("a.dmc")


def test_a_stores_own_folder_has_no_label(tmp_path):
    with DirectoryMedium(tmp_path) as medium:
        store_chunk(medium, "a.dmc", b"a")

        assert medium.label() is None
