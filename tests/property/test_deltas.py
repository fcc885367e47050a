"""Signatures and deltas come from the other machine: what is not sound is refused, and no worse."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import FormatError
from datamover.files.delta import DATA, DeltaWriter, decode_delta
from datamover.files.entry import Entry, Kind
from datamover.files.signature import (
    Piece,
    Signature,
    average_of,
    decode_signature,
    encode_signature,
)

PIECES = st.lists(
    st.builds(
        Piece,
        st.integers(0, 2**62),
        st.integers(1, 2**32 - 1),
        st.binary(min_size=16, max_size=16),
    ),
    max_size=5,
)
ENTRY = Entry(b"src/file", Kind.FILE, stat.S_IFREG | 0o644, size=9, xattrs=((b"user.a", b"1"),))


@given(number=st.integers(0, 2**32 - 1), last=st.booleans(), runs=PIECES, chunks=PIECES)
def test_a_signature_comes_back(number, last, runs, chunks):
    given_one = Signature(number, last, average_of(10**9) if chunks else 0, runs, chunks)
    out = memoryview(bytearray(1000))
    used = encode_signature(out, given_one)

    assert decode_signature(out[:used]) == given_one


@st.composite
def deltas(draw):
    """What a writer is told, and what must come back of it."""
    at, steps = 0, []
    for _ in range(draw(st.integers(0, 6))):
        at += draw(st.integers(0, 3))
        if draw(st.booleans()):
            data = draw(st.binary(min_size=1, max_size=20))
            steps.append((at, data))
            at += len(data)
        else:
            length = draw(st.integers(1, 10**6))
            steps.append((at, length, draw(st.integers(0, 2**40))))
            at += length
    return steps


def written(steps, **flags):
    out = memoryview(bytearray(2000))
    writer = DeltaWriter(out, ENTRY)
    for step in steps:
        if isinstance(step[1], bytes):
            writer.put(step[0], memoryview(step[1]))
        else:
            writer.refer(*step)
    return bytearray(out[: writer.finish(**flags)])


@given(steps=deltas())
def test_a_delta_says_what_it_was_told(steps):
    found = decode_delta(memoryview(written(steps, first=True, last=True, kept=5, size=7)))
    model, data, at = {}, bytes(found.data), 0
    for step in steps:
        for place in (0, (len(step[1]) if isinstance(step[1], bytes) else step[1]) - 1):
            model[step[0] + place] = (
                step[1][place] if isinstance(step[1], bytes) else step[2] + place
            )
    for offset, length, source in found.steps:
        for place in sorted(model):
            if offset <= place < offset + length:
                expected = model.pop(place)
                if source == DATA:
                    assert data[at + place - offset] == expected
                else:
                    assert source + place - offset == expected
        at += length if source == DATA else 0

    assert not model
    assert at == len(data)
    assert (found.entry.path, found.kept, found.size) == (b"src/file", 5, 7)


@given(
    steps=deltas(), place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 3)
)
def test_a_damaged_delta_is_refused_or_harmless(steps, place, value, cut):
    payload = written(steps, first=True)
    payload[place % len(payload)] = value
    payload = payload[: len(payload) - cut]
    try:
        found = decode_delta(memoryview(payload))
    except FormatError:
        return

    assert sum(one.length for one in found.steps if one.source == DATA) == len(found.data)
    assert all(one.offset + one.length < 2**63 for one in found.steps)


@pytest.mark.parametrize("payload", [b"", b"DMdl", b"DMsg" * 20, bytes(64)])
def test_what_is_neither_is_refused(payload):
    for decode in (decode_delta, decode_signature):
        with pytest.raises(FormatError):
            decode(memoryview(payload))


@given(payload=st.binary(max_size=200), average=st.integers(0, 2**32 - 1))
def test_any_signature_is_refused_or_bounded(payload, average):
    head = b"DMsg" + bytes(8) + average.to_bytes(4, "little")
    try:
        found = decode_signature(memoryview(head + payload))
    except FormatError:
        return

    assert not found.average or 16384 <= found.average <= 1 << 22
