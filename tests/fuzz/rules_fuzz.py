"""Fuzz the reader of rule files: a RuleError is an answer, anything else is a bug.

With atheris installed, ``python tests/fuzz/rules_fuzz.py CORPUS`` explores until it is stopped;
without it, the same target runs over seeded mutations of the example in the specification.
"""

from __future__ import annotations

import importlib.util
import random
import re
import sys
from pathlib import Path

from datamover.errors import RuleError
from datamover.placement.decision import Command, Placement
from datamover.placement.route import Router, routing
from datamover.placement.rule_file import parse_rules

SPEC = Path(__file__).parents[2] / "docs" / "spec" / "placement.md"
PIECES = (
    "[[rule]]\n",
    "[default]\n",
    "codec = 'zstd-9'\n",
    "content = 'text/*'\n",
    "path = ['[', '*/x']\n",
    "size_below = '1KiB'\n",
    "age_below = '1d'\n",
    "archive = '[a-'\n",
    '"""',
    "'''",
    "'",
    '"',
    "[",
    "]",
    "{",
    "}",
    "=",
    "#",
    "\n",
    "\\",
    "\0",
    "\x1b",
    "\u2028",
    "9" * 5000,
    "[" * 2000,
    ".",
    "rule",
    "_" * 90,
)


def one_input(data: bytes) -> None:
    """Read ``data`` as rules, and place a file by them."""
    text = data.decode("utf-8", "replace")
    try:
        rules = parse_rules(text, "fuzz")
    except RuleError as error:
        if not 1 <= error.line <= text.count("\n") + 1:
            raise AssertionError(f"line {error.line} is not in the text") from error
        return
    given, codecs = routing(Placement(rules, command=Command(), archive="a"), 10**18)
    route = Router(given).route(b"/a", b"x.txt", 9, 0, lambda *_: b"text")
    assert route < len(codecs)


def mutations(seed: int, count: int):
    """Yield the example with pieces put in, taken out and doubled."""
    chance = random.Random(seed)
    example = re.search(r"```toml\n(.*?)```", SPEC.read_text(encoding="utf-8"), re.DOTALL)[1]
    for _ in range(count):
        text = example if chance.random() < 0.7 else ""
        for _ in range(chance.randrange(6)):
            at = chance.randrange(len(text) + 1)
            end = at + chance.choice((0, 0, 1, 5, 40))
            text = text[:at] + chance.choice((*PIECES, text[at:end], "")) + text[end:]
        yield text.encode()


def run_seeded(seed: int, count: int) -> None:
    """Run the target over ``count`` mutations."""
    for data in mutations(seed, count):
        one_input(data)


def explore(arguments: list[str]) -> None:
    """Let atheris look for inputs, with coverage, until it is stopped."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    if importlib.util.find_spec("atheris"):
        explore(sys.argv)
    else:
        run_seeded(seed=0, count=200_000)
