"""The merge of two walks is the union of their names, in order; the model is a dict."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import MalformedError
from datamover.files.entry import Entry, Kind
from datamover.files.merge import merge
from datamover.files.naming import Naming

NAMES = st.lists(
    st.binary(min_size=1, max_size=3).filter(
        lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
    ),
    min_size=1,
    max_size=4,
)
TREES = st.lists(st.tuples(st.integers(0, 1), NAMES), max_size=30)


def walked(tree, names):
    """Return a walk of the paths and of the folders above them."""
    places = {(root, ()) for root, _ in tree}
    places |= {(root, tuple(path[:n])) for root, path in tree for n in range(len(path) + 1)}
    return [
        Entry(b"/".join((names[root], *path)), Kind.FILE, stat.S_IFREG, root=root)
        for root, path in sorted(places)
    ]


@given(ours=TREES, theirs=TREES)
def test_merge_is_the_union_in_order(ours, theirs):
    naming = Naming([(b"src", b"new name"), (b"two", b"two")])
    mine = walked(ours, [b"src", b"two"])
    other = walked(theirs, [b"new name", b"two"])
    model = {}
    for side, entries in enumerate((mine, other)):
        for entry in entries:
            name = entry.path if side == 0 else naming.source(entry.root, entry.path)
            model.setdefault((entry.root, tuple(name.split(b"/")[1:])), [None, None])[side] = entry
    pairs = list(merge(iter(mine), iter(other), naming))

    assert [[a, b] for _, a, b in pairs] == [model[place] for place in sorted(model)]


@given(theirs=TREES, swap=st.integers(0, 100))
def test_a_survey_in_any_other_order_is_refused(theirs, swap):
    other = walked(theirs, [b"src", b"two"])
    if len(other) < 2:
        return
    at = swap % (len(other) - 1)
    other[at], other[at + 1] = other[at + 1], other[at]
    with pytest.raises(MalformedError):
        list(merge(iter([]), iter(other), Naming([(b"src", b"src"), (b"two", b"two")])))


@given(path=NAMES, root=st.integers(0, 1))
def test_names_go_there_and_back(path, root):
    naming = Naming([(b"", b"there"), (b"src", b"other name")])
    given_name = b"/".join(path if root == 0 else (b"src", *path))
    target = naming.target(root, given_name)

    assert target == b"/".join((b"there", *path) if root == 0 else (b"other name", *path))
    assert naming.source(root, target) == given_name
