"""The words of the glossary exist: as code, as files, or as words of the other documents."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "datamover"
GLOSSARY = ROOT / "docs" / "GLOSSARY.md"


def ours():
    """Every word in code type or italics of the right column."""
    for line in GLOSSARY.read_text().splitlines():
        if line.startswith("|") and not line.startswith(("| seed", "|---")):
            yield from re.findall(r"`([^`]+)`|\*([^*]+)\*", line.strip("|").split("|")[1])


WORDS = sorted({code or italic for code, italic in ours()})
TEXT = "\n".join(
    path.read_text()
    for folder, pattern in ((SOURCE, "**/*.py"), (ROOT / "docs", "**/*.md"))
    for path in folder.glob(pattern)
    if path != GLOSSARY
)


def test_the_glossary_has_words():
    assert len(WORDS) > 10


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_the_glossary_exists(word):
    if "/" in word:
        assert (SOURCE / word).exists()
    elif "." in word:
        module, _, name = word.rpartition(".")
        assert hasattr(import_module(f"datamover.{module}"), name)
    else:
        assert re.search(rf"\b{re.escape(word)}\b", TEXT)
