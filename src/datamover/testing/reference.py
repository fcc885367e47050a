"""The generated parts of the reference pages: ``python -m datamover.testing.reference``.

A page is written by hand, but for what stands between ``<!-- begin NAME -->`` and
``<!-- end NAME -->``: that is made from the program, and a test compares it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover import errors
from datamover.cli.everywhere import Everywhere
from datamover.cli.grammar import COMMANDS
from datamover.cli.network import Network
from datamover.cli.status import HARMLESS, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from datamover.cli.grammar import Command

__all__ = ["PAGES", "refresh"]

PAGES: Final = ("cli.md", "errors.md")
"""The files of docs/reference that have generated parts."""

_PART: Final = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def refresh(page: str) -> str:
    """Return a page with its generated parts made anew.

    Raises:
        KeyError: It names a part that nobody makes.
    """

    def part(match: re.Match[str]) -> str:
        lines = _PARTS[match[2]]()
        return match[1] + "".join(f"{line}\n" for line in lines) + match[3]

    return _PART.sub(part, page)


def main(arguments: Sequence[str]) -> None:
    """Refresh the pages of the folder that was named, docs/reference by default."""
    folder = Path(arguments[0] if arguments else "docs/reference")
    for name in PAGES:
        path = folder / name
        path.write_text(refresh(path.read_text(encoding="utf-8")), encoding="utf-8")


def _errors() -> Iterator[str]:
    yield "| code | exit | retry | meaning | fields |"
    yield "|---|---|---|---|---|"
    for kind in _tree(errors.DataMoverError):
        names = ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind))
        summary = inspect.cleandoc(kind.__doc__ or "").splitlines()[0].rstrip(".")
        retry = "yes" if kind.retryable else ""
        yield f"| `{kind.code}` | {kind.exit_status} | {retry} | {summary} | {names} |"


def _hints() -> Iterator[str]:
    for kind in _tree(errors.DataMoverError):
        if vars(kind).get("hint"):
            yield f"- `{kind.code}`: {kind.hint}"


def _commands() -> Iterator[str]:
    for command in COMMANDS:
        yield from _command(command)
    yield "## Options of every command"
    yield ""
    for name, text in _described(inspect.getdoc(Everywhere) or "", "Attributes:").items():
        yield f"- `{_option(name)}`: {text}"
    yield ""
    yield "## Options of every command that reaches another machine"
    yield ""
    for name, text in _described(inspect.getdoc(Network) or "", "Attributes:").items():
        yield f"- `{_option(name)}`: {text}"


def _command(command: Command) -> Iterator[str]:
    module, _, name = command.function.partition(":")
    function = getattr(import_module(module), name)
    positional = {
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.POSITIONAL_ONLY
    }
    yield f"## {' '.join(command.words)}"
    yield ""
    yield command.summary
    yield ""
    yield f"    datamover {' '.join(command.words)} {command.usage}".rstrip()
    yield ""
    described = _described(inspect.getdoc(function) or "", "Args:")
    for parameter, text in described.items():
        if parameter not in _COMMON:
            shown = parameter if parameter in positional else _option(parameter)
            yield f"- `{shown}`: {text}"
    yield ""
    yield from (f"    $ {example}" for example in command.examples)
    yield ""


def _statuses() -> Iterator[str]:
    yield "| status | name | meaning |"
    yield "|---|---|---|"
    meanings = dict(_documented(Status))
    for status in sorted(Status):
        name = status.name.lower().replace("_", " ")
        yield f"| {status.value} | {name} | {meanings[status.name]} |"
    yield ""
    harmless = " and ".join(f"`{kind}`" for kind in sorted(HARMLESS))
    yield f"Notices of the kinds {harmless} leave the status 0."


def _documented(kind: type[Status]) -> Iterator[tuple[str, str]]:
    """Yield each member and the string that stands below it in the source."""
    lines = iter(inspect.getsource(kind).splitlines())
    member = ""
    for line in lines:
        text = line.strip()
        if " = " in text and text.split(" = ")[0] in kind.__members__:
            member = text.split(" = ")[0]
        elif member and text.startswith('"""'):
            yield member, text.strip('"').rstrip(".")
            member = ""


def _described(text: str, section: str) -> dict[str, str]:
    """Return the names and texts of one section of a docstring."""
    found: dict[str, str] = {}
    _, _, rest = text.partition(f"{section}\n")
    current = ""
    for line in rest.splitlines():
        if not line.startswith("    "):
            break
        entry = line[4:]
        if entry.startswith(" "):
            found[current] += " " + entry.strip()
        else:
            current, _, words = entry.partition(": ")
            found[current] = words
    return found


_COMMON: Final = frozenset({"everywhere", "network"})


def _option(parameter: str) -> str:
    return "--" + parameter.rstrip("_").replace("_", "-")


def _tree(kind: type[errors.DataMoverError]) -> Iterator[type[errors.DataMoverError]]:
    # Classes of other modules extend the tree only while they are imported: they are not listed.
    if kind.__module__.startswith(f"{errors.__name__}."):
        yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


_PARTS: Final[Mapping[str, Callable[[], Iterable[str]]]] = {
    "commands": _commands,
    "errors": _errors,
    "hints": _hints,
    "statuses": _statuses,
}

if __name__ == "__main__":
    main(sys.argv[1:])
