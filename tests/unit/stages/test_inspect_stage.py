"""Inspection tells what a block holds, beside the block and never in it."""

import struct

import pytest

from datamover.codec.inspection import Inspection
from datamover.ids import BlockNumber
from datamover.stages.middle import inspect
from datamover.testing.port import ScriptedPort
from datamover.units import Bytes
from datamover.wire.tag import Extension, ExtensionId, TagHeader, TagKind, Transform

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
TABLE = struct.pack("<4sI8s", b"DMet", 40, bytes(8)) + b"t" * 24


def tag_of(payload, kind, **more):
    size = Bytes(len(payload))
    return TagHeader(kind=kind, block=BlockNumber(1), length=size, plain=size, **more)


def inspect_one(payload, kind=TagKind.RAW, **more):
    port = ScriptedPort([(tag_of(payload, kind, **more), payload)])
    inspect.run(port, inspect.Settings())
    (out,) = port.outputs
    assert out.payload == payload
    assert port.results == {}  # it could die with it
    return out.tag


def content(tag):
    (value,) = (one.value for one in tag.private if one.id == ExtensionId.CONTENT)
    return Inspection.decode(value)


def test_a_raw_block_is_inspected_from_its_first_byte():
    tag = inspect_one(PNG)

    assert (content(tag).content_type, content(tag).size) == ("image/png", 108)


def test_a_data_block_is_inspected_behind_its_table():
    tag = inspect_one(TABLE + PNG, TagKind.DATA)

    assert (content(tag).content_type, content(tag).size) == ("image/png", 108)


def test_a_data_block_without_data_is_empty():
    tag = inspect_one(TABLE, TagKind.DATA)

    assert content(tag) == Inspection(content_type="inode/x-empty", entropy=0.0, size=Bytes(0))


@pytest.mark.parametrize("length", [0, 15, 41, (1 << 32) - 1])
def test_a_table_length_that_makes_no_sense_is_not_followed(length):
    payload = struct.pack("<4sI8s", b"DMet", length, bytes(8)) + b"t" * 24
    tag = inspect_one(payload, TagKind.DATA)

    assert content(tag).size == 40


def test_a_data_block_too_short_for_a_table_is_data():
    tag = inspect_one(PNG[:15], TagKind.DATA)

    assert content(tag).content_type == "image/png"


def test_a_buffer_without_a_tag_gets_one():
    port = ScriptedPort([(None, PNG)])
    inspect.run(port, inspect.Settings())

    assert content(port.outputs[0].tag).content_type == "image/png"


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (TagKind.INDEX, {}),
        (TagKind.CONTENTS, {}),
        (TagKind.RAW, {"transforms": (Transform(id=1, length=Bytes(1)),)}),
    ],
)
def test_what_is_not_plain_data_goes_on_unread(kind, more):
    tag = inspect_one(PNG, kind, **more)

    assert tag == tag_of(PNG, kind, **more)


def test_inspecting_twice_leaves_one_result_and_other_extensions():
    header = Extension(id=ExtensionId.HEADER, value=b"key\0value")
    first = inspect_one(PNG, private=(header,))
    second = inspect_one(PNG, private=first.private)

    assert second.private == first.private
    assert header in second.private
