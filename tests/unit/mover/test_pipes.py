"""A codec as a person writes it is one that the compress stage takes."""

import pytest

from datamover.codec.codec import Codec
from datamover.codec.registry import make_compressor
from datamover.errors import UsageError


@pytest.mark.parametrize(
    "text", ["zstd", "zstd-1", "zstd-19", "lz4", "lz4-12", "gzip", "gzip-1", "gzip-3", "none"]
)
def test_a_codec_that_is_offered_can_be_made(text):
    codec = Codec.parse(text)

    assert (make_compressor(codec.name, codec.level) is None) == (codec.name == "none")


@pytest.mark.parametrize(
    "text", ["", "zstd-0", "zstd-20", "lz4-0", "gzip-0", "gzip-4", "none-1", "x"]
)
def test_a_codec_that_is_not_is_refused_before_anything_starts(text):
    with pytest.raises(UsageError):
        Codec.parse(text)
