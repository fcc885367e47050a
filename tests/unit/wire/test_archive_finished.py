"""An archive footer says when it was written, and a reader does without."""

from __future__ import annotations

import pytest

from datamover.wire.archive import ArchiveFooter, finished_at
from datamover.wire.extension import Extension


def decoded(*extensions):
    footer = ArchiveFooter(
        archive=bytes(16), chunks=1, blocks=1, plain=1, extensions=tuple(extensions)
    )
    return ArchiveFooter.decode(memoryview(footer.encode()))


def test_the_moment_comes_back_among_other_extensions():
    assert decoded(Extension(id=9, value=b""), finished_at(123)).finished_ns == 123


@pytest.mark.parametrize("value", [b"", b"1234567", b"123456789"])
def test_a_footer_without_a_moment_says_none(value):
    assert decoded().finished_ns is None
    assert decoded(Extension(id=1, value=value)).finished_ns is None
