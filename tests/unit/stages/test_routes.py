"""A block holds files of one route, says which, and is compressed as that route says.

The archive is the same with routes as without, but for where its blocks end.
"""

import os
import time

import pytest
from msgspec.structs import replace as retagged

from datamover.errors import MalformedError, UsageError
from datamover.files.entry import EntryFlag
from datamover.files.table import decode_entries
from datamover.ids import BlockNumber
from datamover.placement.decision import Command, Placement
from datamover.placement.route import Routing, route_of, routing, with_route
from datamover.placement.rule_file import parse_rules
from datamover.stages.head import scan
from datamover.stages.middle import collect, compress, index
from datamover.stages.tail import restore
from datamover.testing.port import ScriptedPort
from datamover.testing.trees import assert_same_tree, make_tree
from datamover.units import Bytes
from datamover.wire.tag import TagHeader, TagKind, TransformId

RULES = """
[[rule]]
path = "*.old"
codec = "gzip-1"
[[rule]]
content = "image/*"
codec = "none"
[[rule]]
content = "text/*"
size_at_least = 10
codec = "zstd-9"
"""
PNG = b"\x89PNG\r\n\x1a\n"
TEXT = b"words and words and words\n" * 30


def routes(text=RULES):
    return routing(Placement(parse_rules(text, "f"), command=Command()), time.time_ns())


def scanned(root, given, size=65536):
    port = ScriptedPort(buffer_size=size)
    scan.run(port, scan.Settings(roots=(os.fsdecode(root),), routing=given))
    assert port.held == 0
    return port


def collected(root, given, size=65536):
    out = scanned(root, given, size).outputs
    port = ScriptedPort([(one.tag, one.payload) for one in out], buffer_size=size)
    collect.run(port, collect.Settings(roots=(os.fsdecode(root),)))
    return port.outputs


def files_of(output):
    """Names of the files that have data in a block."""
    entries = decode_entries(memoryview(output.payload))
    return [entry.path.decode().split("/", 1)[1] for entry in entries if entry.extents]


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "deep").mkdir(parents=True)
    for name, data in {
        "a.txt": TEXT, "b.txt": TEXT, "c.png": PNG + TEXT, "deep/d": TEXT, "deep/e.old": TEXT,
        "deep/f": PNG, "deep/g.old": PNG, "empty": b"", "f.bin": b"\0" * 99, "g": b"short",
        "h": PNG * 9000, "i": TEXT * 200, "j": TEXT,
    }.items():  # fmt: skip
        (root / name).write_bytes(data)
    os.link(root / "a.txt", root / "z-link")
    return root


def test_a_block_holds_files_of_one_route(tree):
    given, codecs = routes()
    outputs = scanned(tree, given).outputs
    blocks = [(codecs[route_of(one.tag, len(codecs))], files_of(one)) for one in outputs]

    assert (
        blocks
        == [
            ("zstd-9", ["a.txt", "b.txt"]),
            ("none", ["c.png"]),
            ("zstd-9", ["deep/d"]),
            ("gzip-1", ["deep/e.old"]),
            ("none", ["deep/f"]),
            ("gzip-1", ["deep/g.old"]),
            ("zstd-1", ["f.bin", "g"]),
            ("none", ["h"]),
            ("none", ["h"]),
            ("zstd-9", ["i"]),
            ("zstd-9", ["i"]),
            ("zstd-9", ["i"]),
            ("zstd-9", ["i", "j"]),
        ]
        or blocks
    )
    assert [one.tag.block for one in outputs] == list(range(len(outputs)))


def names(outputs):
    return [
        (entry.path, entry.size)
        for one in outputs
        for entry in decode_entries(memoryview(one.payload))
        if not entry.flags & EntryFlag.CONTINUES
    ]


def test_the_archive_has_the_same_entries_in_the_same_order_as_without_routes(tmp_path):
    make_tree(tmp_path / "tree", 5, files=120, large=200_000)
    root = tmp_path / "tree"
    with_rules, without = scanned(root, routes()[0]), scanned(root, Routing())

    assert names(with_rules.outputs) == names(without.outputs)
    assert with_rules.results == without.results
    assert len(with_rules.outputs) > len(without.outputs)


def test_what_was_planned_by_route_is_restored(tmp_path):
    make_tree(tmp_path / "tree", 6, files=120, large=200_000)
    blocks = collected(tmp_path / "tree", routes()[0])
    port = ScriptedPort([(one.tag, one.payload) for one in blocks], buffer_size=65536)
    index.run(port, index.Settings())
    last = ScriptedPort([(one.tag, one.payload) for one in port.outputs], buffer_size=65536)
    restore.run(last, restore.Settings(destination=os.fsdecode(tmp_path / "back"), sync=False))

    assert_same_tree(tmp_path / "tree", tmp_path / "back" / "tree")


def test_the_index_keeps_a_blocks_route_and_goes_by_route_0_itself(tree):
    given, codecs = routes()
    blocks = collected(tree, given)
    port = ScriptedPort([(one.tag, one.payload) for one in blocks], buffer_size=65536)
    index.run(port, index.Settings())
    found = [route_of(one.tag, len(codecs)) for one in port.outputs]

    assert found[: len(blocks)] == [route_of(one.tag, len(codecs)) for one in blocks]
    assert set(found[len(blocks) :]) == {0}


def test_without_rules_a_tag_is_what_it_was(tree):
    assert all(not one.tag.public for one in scanned(tree, Routing()).outputs)


def tagged(payload, route):
    size = Bytes(len(payload))
    tag = TagHeader(kind=TagKind.DATA, block=BlockNumber(3), length=size, plain=size)
    return retagged(tag, public=with_route(route)), payload


def compressed(route, **settings):
    port = ScriptedPort([tagged(TEXT, route)])
    compress.run(port, compress.Settings(**settings))
    (out,) = port.outputs
    return [(step.id, step.parameter) for step in out.tag.transforms]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (0, [(TransformId.LZ4, 1)]),
        (1, [(TransformId.ZSTD, 9)]),
        (2, []),
        (3, [(TransformId.GZIP, 2)]),
    ],
)
def test_a_block_is_compressed_as_its_route_says(route, expected):
    settings = {"codec": "lz4", "level": 1, "routes": ("zstd-9", "none", "gzip-2")}

    assert compressed(route, **settings) == expected


def test_a_route_that_the_pipe_does_not_have_is_refused():
    with pytest.raises(MalformedError, match="no such route"):
        compressed(2, routes=("zstd-9",))


def test_a_codec_of_a_route_that_is_none_is_refused():
    with pytest.raises(UsageError, match="no codec"):
        compress.run(ScriptedPort([]), compress.Settings(routes=("zip",)))
