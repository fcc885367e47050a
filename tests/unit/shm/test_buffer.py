"""A handle is the right to touch a slot, and it ends when the buffer is sent or freed."""

import pytest

from datamover.errors import OwnershipError
from datamover.shm.buffer import TAG_SIZE, TRAILER_SIZE, Buffer

ROOM = 64 + TRAILER_SIZE


@pytest.fixture
def buffer() -> Buffer:
    return Buffer(3, memoryview(bytearray(2 * (TAG_SIZE + ROOM))), TAG_SIZE + ROOM, ROOM, 1)


def test_the_tag_and_the_data_are_the_parts_of_one_slot(buffer: Buffer) -> None:
    buffer.data[:4] = b"data"
    buffer.tag[:3] = b"tag"
    buffer.used = 4

    assert len(buffer.tag) == TAG_SIZE
    assert len(buffer.data) == ROOM
    assert (bytes(buffer.payload), bytes(buffer.tag[:3])) == (b"data", b"tag")


@pytest.mark.parametrize("name", ["data", "tag", "payload"])
def test_a_dead_handle_has_no_views(buffer: Buffer, name: str) -> None:
    buffer.kill()

    with pytest.raises(OwnershipError, match="buffer 3: used after it was sent or freed"):
        getattr(buffer, name)
    assert not buffer.is_alive


@pytest.mark.parametrize("name", ["data", "tag", "payload"])
def test_views_die_with_their_handle(buffer: Buffer, name: str) -> None:
    buffer.used = 8
    first, second = getattr(buffer, name), getattr(buffer, name)
    buffer.kill()

    for view in (first, second):
        with pytest.raises(ValueError, match="released"):
            view[0] = 1


def test_a_payload_view_that_was_released_before_does_no_harm(buffer: Buffer) -> None:
    buffer.used = 8
    with buffer.payload:
        pass
    buffer.kill()

    assert not buffer.is_alive


def test_adopting_copies_the_tag_and_its_length(buffer: Buffer) -> None:
    other = Buffer(0, memoryview(bytearray(TAG_SIZE + ROOM)), 0, ROOM)
    buffer.tag[:3], buffer.tag_used = b"tag", 3
    other.adopt(buffer)

    assert bytes(other.tag[: other.tag_used]) == b"tag"


def test_a_view_across_has_the_end_of_the_tag_area_and_the_data_in_one_piece(
    buffer: Buffer,
) -> None:
    buffer.tag[-3:], buffer.data[:4] = b"tag", b"data"

    view = buffer.across(3, 4)
    assert bytes(view) == b"tagdata"
    buffer.kill()
    with pytest.raises(ValueError, match="released"):
        view[0] = 1


@pytest.mark.parametrize("sizes", [(-1, 0), (TAG_SIZE + 1, 0), (0, -1), (0, ROOM + 1)])
def test_a_view_across_keeps_within_its_slot(buffer: Buffer, sizes: tuple[int, int]) -> None:
    with pytest.raises(OwnershipError, match="has no"):
        buffer.across(*sizes)
