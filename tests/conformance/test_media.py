"""Every kind of medium, and every fake of one, keeps what ``Medium`` promises."""

from __future__ import annotations

import os

import pytest

from datamover.media.directory import DirectoryMedium
from datamover.testing.media import FailingMedium, MediumSuite
from datamover.testing.small_disk import small_disk

pytestmark = pytest.mark.processes


class TestDirectoryMedium(MediumSuite):
    @pytest.fixture
    def address(self, tmp_path):
        return f"file://{tmp_path}"

    @pytest.fixture
    def small(self, tmp_path):
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small file system to fill")
        with small_disk(tmp_path / "small", "2m") as place:
            yield f"file://{place}"


class TestFailingMediumThatDoesNot(MediumSuite):
    @pytest.fixture
    def address(self, tmp_path):
        return f"file://{tmp_path}"

    @pytest.fixture
    def medium(self, tmp_path):
        with DirectoryMedium(tmp_path) as inner:
            yield FailingMedium(inner, ".")
