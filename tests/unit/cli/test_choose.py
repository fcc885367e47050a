"""Which of the names after `restore` is an archive."""

import pytest

from datamover.cli.choose import choose
from datamover.errors import ArchiveMissingError, UsageError


def find(word):
    if word == "ambiguous":
        raise UsageError(reason="fits two")
    if word not in {"daily", "src"}:
        raise ArchiveMissingError(store="s", reason=f"no archive {word}")


def test_without_names_the_latest_archive_comes_back_whole():
    assert choose([], find) == (None, [])


def test_latest_is_a_word_of_its_own():
    assert choose(["latest", "src"], find) == (None, ["src"])


def test_a_name_that_is_an_archive_is_the_archive():
    assert choose(["src"], find) == ("src", [])
    assert choose(["src", "etc", "daily"], find) == ("src", ["etc", "daily"])


def test_a_name_that_is_no_archive_is_a_path_in_the_latest():
    assert choose(["etc/fstab"], find) == (None, ["etc/fstab"])
    assert choose(["etc", "src"], find) == (None, ["etc", "src"])


def test_a_path_written_with_a_dot_is_never_an_archive():
    assert choose(["./src"], find) == (None, ["./src"])


def test_a_word_that_fits_two_archives_is_refused():
    with pytest.raises(UsageError, match="fits two"):
        choose(["ambiguous"], find)
