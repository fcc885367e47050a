"""What a copy calls its sources at the destination, as the guide says it."""

from __future__ import annotations

import os

import pytest

from datamover.errors import UsageError
from datamover.files.found import Found
from datamover.mover.copy import CopySettings, check
from datamover.mover.targets import sources, target


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a/in", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "f").write_text("x")
    (tmp_path / "to-b").symlink_to("b")
    return tmp_path


def looked(given):
    return sources(given, [Found.at(one) for one in given])


@pytest.mark.parametrize(
    ("words", "becomes"),
    [
        ("a b", ["b/a"]),
        ("a b/", ["b/a"]),
        ("a new", ["new"]),
        ("a new/", ["new/a"]),
        ("a/ b", ["b"]),
        ("a/ new", ["new"]),
        ("a/. new", ["new"]),
        ("f g", ["g"]),
        ("f b", ["b/f"]),
        ("f new/", ["new/f"]),
        ("f f2/deep/er", ["f2/deep/er"]),
        ("a f b", ["b/a", "b/f"]),
        ("a f new", ["new/a", "new/f"]),
        ("a to-b", ["b/a"]),
        ("a/ to-b", ["b"]),
        ("to-b a", ["a/to-b"]),
        ("to-b/ new", ["new"]),
    ],
)
def test_targets(here, words, becomes):
    *given, to = words.split()
    found = target(looked(given), to, Found.at(to))

    assert [os.path.relpath(path, here) for path in found.paths] == becomes


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("missing b", "no such file"),
        ("f/ b", "not a folder"),
        ("a f", "not a folder"),
        ("a b f", "not a folder"),
        ("f f2/ b", "no such file"),
        ("a/ f b", "copied alone"),
        ("a ./a b", "two sources have the name a"),
    ],
)
def test_refused(words, reason):
    *given, to = words.split()
    with pytest.raises(UsageError, match=reason):
        target(looked(given), to, Found.at(to))


@pytest.mark.parametrize(
    "words", ["a a", "a a/in", "a a/in/new", "a .", "f f", "f .", "a/ a", "a/in/.. a/in"]
)
def test_nothing_is_copied_into_or_over_itself(words):
    *given, to = words.split()
    named, found = looked(given), Found.at(to)
    with pytest.raises(UsageError, match=r"same|into itself"):
        check(named, target(named, to, found), found, CopySettings())


def test_a_symlink_does_not_hide_that_it_is_itself(here):
    (here / "way").symlink_to("a/in")
    named, found = looked(["a"]), Found.at("way/")
    with pytest.raises(UsageError, match="into itself"):
        check(named, target(named, "way/", found), found, CopySettings())
