"""Settings cross process borders with names of any byte, and come back as they were."""

import os

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from datamover.pipe.plain import packed, unpacked

NAMES = st.binary(max_size=20).map(os.fsdecode)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_any_plain_value_survives_messagepack(value):
    data = msgspec.msgpack.encode(packed(value))

    assert unpacked(msgspec.msgpack.decode(data)) == value


def test_text_stays_text_and_only_a_name_that_is_none_becomes_bytes():
    assert packed({"roots": ("/ä", "/\udcff")}) == {"roots": ["/ä", b"/\xff"]}
