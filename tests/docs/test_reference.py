"""The reference pages say what the program does."""

from pathlib import Path

import pytest

from datamover import errors
from datamover.testing.reference import PAGES, refresh

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_generated_parts_of_a_page_are_fresh(name):
    page = (DOCS / name).read_text()

    assert page == refresh(page), "run `python -m datamover.testing.reference`"
    assert "<!-- begin " in page


def test_a_page_that_is_stale_is_noticed():
    stale = "<!-- begin statuses -->\nold\n<!-- end statuses -->\n"

    assert refresh(stale) != stale
    assert "old" not in refresh(stale)


def tree(kind):
    if kind.__module__ == errors.__name__:
        yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def test_every_error_is_drawn_in_the_tree_and_exported():
    names = {kind.__name__ for kind in tree(errors.DataMoverError)}
    drawn = {
        word
        for line in errors.__doc__.splitlines()
        if line.lstrip("│├└─ ") and ("─ " in line or line.startswith("DataMoverError"))
        for word in line.split()
        if word.endswith("Error") and word.isalnum()
    }

    assert names <= set(errors.__all__)
    assert drawn == names


def test_every_code_is_unique_and_lowercase():
    codes = [kind.code for kind in tree(errors.DataMoverError)]

    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and " " not in code for code in codes)
