"""Every medium, and every fake of one, keeps what ``Medium`` promises."""

from __future__ import annotations

import pytest

from datamover.media.directory import DirectoryMedium
from datamover.testing.media import FailingMedium, MediumSuite


class TestDirectoryMedium(MediumSuite):
    @pytest.fixture
    def medium(self, tmp_path):
        with DirectoryMedium(tmp_path) as medium:
            yield medium


class TestFailingMediumThatDoesNot(MediumSuite):
    @pytest.fixture
    def medium(self, tmp_path):
        with DirectoryMedium(tmp_path) as inner:
            yield FailingMedium(inner, ".")
