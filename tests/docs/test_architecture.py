"""What the architecture page says of layers and packages is what the checker holds."""

import pkgutil
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import datamover

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
PACKAGES = [m.name for m in pkgutil.walk_packages(datamover.__path__, "datamover.") if m.ispkg]


def rows():
    """The layer table: its first column, and its second."""
    table = PAGE.split("## Layers")[1].split("\n## ")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield re.findall(r"`(\w+)`", cells[0]), cells[1]


def test_the_layer_table_is_the_import_contract():
    contract = next(
        c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"
    )
    held = [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]
    told = [set(names) for names, _ in rows() if names != ["testing"]]

    assert told == held[::-1]


def test_the_layer_table_names_every_package():
    told = {name for names, _ in rows() for name in names}
    there = {m.name for m in pkgutil.iter_modules(datamover.__path__) if m.name != "__main__"}

    assert told == there


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_which_question_it_answers(name):
    question = (import_module(name).__doc__ or "").strip()

    assert question.endswith("?")
    assert "\n" not in question


def test_the_layer_table_asks_the_same_questions():
    for names, question in rows():
        found = re.match(r"[^?]+\?", question)
        if len(names) == 1 and found:
            assert import_module(f"datamover.{names[0]}").__doc__ == found[0]


def test_the_version_is_written_once_in_each_place():
    assert PROJECT["project"]["version"] == datamover.__version__
