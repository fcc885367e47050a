"""Control messages survive any cut into pieces; nothing that is broken or too long gets through."""

from __future__ import annotations

import tracemalloc
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import CorruptError, FormatError, MalformedError, VersionError
from datamover.wire.control import HEADER, ControlReader, encode
from datamover.wire.crc import crc32c
from datamover.wire.message import TYPES, Message, Ping, Plain, Refused, Token, Unknown

texts = st.text(max_size=20)
counts = st.integers(0, 2**63 - 1)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=20)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
plains = st.dictionaries(texts, values, max_size=3)


def messages_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Message]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: strategy_of(hint) for name, hint in hints.items()})


def strategy_of(hint: object) -> st.SearchStrategy[object]:
    if hint == Plain:
        return plains
    if hint == Token:
        return st.binary(min_size=16, max_size=16)
    if hasattr(hint, "__metadata__"):
        (limits,) = hint.__metadata__
        if hint.__origin__ is bytes:
            return st.binary(max_size=limits.max_length)
        return st.integers(0, limits.le)
    within = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(within)
    return strategy_of_many(typing.get_origin(hint), within) if within else strategy_of_one(hint)


def strategy_of_many(origin: object, within: tuple[object, ...]) -> st.SearchStrategy[object]:
    inner = [strategy_of(one) for one in within]
    if origin is tuple:
        return st.tuples(*inner)
    if origin is list:
        return st.lists(inner[0], max_size=3)
    return st.dictionaries(texts, inner[1], max_size=3) if origin is dict else st.one_of(inner)


def strategy_of_one(kind: type) -> st.SearchStrategy[object]:
    if issubclass(kind, msgspec.Struct):
        return messages_of(kind)
    numbers = {int: counts, float: st.floats(allow_nan=False)}
    return ({str: texts, object: values, type(None): st.none()} | numbers)[kind]


messages = st.sampled_from([kind for kind, _ in TYPES.values()]).flatmap(messages_of)


def opened() -> ControlReader:
    reader = ControlReader()
    reader.open()
    return reader


def framed(number: int, body: bytes, *, magic: bytes = b"DMCM", version: int = 1) -> bytes:
    head = HEADER.pack(magic, version, 0, number, len(body), 0)[:-4]
    return head + crc32c(head + body).to_bytes(4, "little") + body


@given(st.lists(messages, max_size=4), st.data())
def test_whatever_the_pieces_the_messages_are_the_same(said, data):
    wire = b"".join(map(encode, said))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    reader, heard = opened(), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        reader.feed(wire[start:end])
        heard += reader.messages()

    assert heard == said
    assert not reader.has_some


@given(messages, st.data())
def test_one_flipped_bit_is_never_taken_for_a_message(said, data):
    wire = bytearray(encode(said))
    bit = data.draw(st.integers(0, len(wire) * 8 - 1))
    wire[bit // 8] ^= 1 << bit % 8
    reader, heard = opened(), []
    reader.feed(wire)
    try:
        heard += reader.messages()
    except FormatError:
        return

    assert not heard  # a longer length: it waits for what does not come
    assert reader.has_some


@given(st.sampled_from([*TYPES, 9, 500]), st.binary(max_size=200))
def test_a_sound_body_of_garbage_is_a_message_or_a_format_error(number, body):
    reader = opened()
    reader.feed(framed(number, body))
    try:
        list(reader.messages())
    except FormatError:
        return


@given(st.binary(min_size=1, max_size=64))
def test_garbage_is_refused_with_its_first_wrong_byte(garbage):
    reader = opened()
    reader.feed(b"D" + garbage)
    if not b"DMCM".startswith((b"D" + garbage)[:4]):
        with pytest.raises(FormatError):
            list(reader.messages())


@pytest.mark.parametrize("number", [*TYPES, 9])
def test_a_message_longer_than_its_type_allows_is_refused_by_its_header(number):
    most = TYPES[number][1] if number in TYPES else 1 << 20
    reader = opened()
    reader.feed(HEADER.pack(b"DMCM", 1, 0, number, most + 1, 0))

    with pytest.raises(MalformedError, match=f"{most + 1} bytes, {most} may come"):
        list(reader.messages())


def test_before_it_is_opened_nothing_longer_than_four_kib_is_taken():
    reader = ControlReader()
    reader.feed(HEADER.pack(b"DMCM", 1, 0, 32, 4097, 0))

    with pytest.raises(MalformedError, match="4097 bytes, 4096 may come"):
        list(reader.messages())


def test_another_version_of_the_framing_is_named():
    reader = opened()
    reader.feed(framed(4, b"\x81\xa7request\x01", version=2))

    with pytest.raises(VersionError, match="version 2"):
        list(reader.messages())


def test_a_wrong_check_is_named():
    wire = bytearray(encode(Ping(request=1)))
    wire[-1] ^= 1
    reader = opened()
    reader.feed(wire)

    with pytest.raises(CorruptError):
        list(reader.messages())


def test_unknown_keys_are_ignored_and_missing_ones_refused():
    body = msgspec.msgpack.encode({"request": 7, "later": [1, {"x": None}]})
    reader = opened()
    reader.feed(framed(4, body))

    assert list(reader.messages()) == [Ping(request=7)]

    reader.feed(framed(4, msgspec.msgpack.encode({"later": 1})))
    with pytest.raises(MalformedError, match="request"):
        list(reader.messages())


def test_a_type_of_a_later_release_keeps_its_request():
    reader = opened()
    reader.feed(framed(99, msgspec.msgpack.encode({"request": 7, "x": 1})))
    reader.feed(framed(98, b"\x80"))

    assert list(reader.messages()) == [
        Unknown(type=99, request=7),
        Unknown(type=98, request=0),
    ]


@pytest.mark.parametrize(
    "given_body",
    [
        b"\x83\xa7request\x01\xa6method\xa1m\xa5given\x81\xa1a" + b"\x91" * 40 + b"\xc0",
        b"\x83\xa7request\x01\xa6method\xa1m\xa5given\x81\xa1a" + b"\x91" * 100_000 + b"\xc0",
        b"\x83\xa7request\x01\xa6method\xa1m\xa5given\x81\xa1a\xc7\x01\x05a",
        b"\x83\xa7request\x01\xa6method\xa1m\xa5given\x81\xa1a\x81\x01\xc0",
        b"\x83\xa7request\x01\xa6method\xa1m\xa5given\x81\xa1a\xa1\xff",
        b"\x83\xa7request\x01\xa6method\xa1m\xa5given\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x83\xa7request\xff\xa6method\xa1m\xa5given\x80",
        b"\x83\xa7request\x01\xa6method\xa1m\xa5given\x80\x00",
    ],
    ids=["deep", "endless", "extension", "key", "text", "claims", "negative", "rest"],
)
def test_what_messagepack_has_beyond_plain_values_is_refused(given_body):
    reader = opened()
    reader.feed(framed(32, given_body))
    tracemalloc.start()
    with pytest.raises(MalformedError):
        list(reader.messages())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 4 << 20


def test_what_does_not_fit_is_refused_where_it_is_made():
    with pytest.raises(MalformedError, match="65536 fit"):
        encode(Refused(request=1, code="c", reason="x" * 70_000))
    with pytest.raises(MalformedError, match="surrogates"):
        encode(Refused(request=1, code="c", reason="\udcff"))
