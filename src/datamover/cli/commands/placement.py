"""``datamover placement check|explain``: what placement rules say, and what they do to files."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from datamover.cli.answer import Column, Kind, Rows, Value
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.progress import Display
from datamover.cli.render import show
from datamover.cli.status import of_notices
from datamover.codec.codec import Codec
from datamover.errors import UsageError
from datamover.files.printable import printable
from datamover.mover import explain as mover
from datamover.mover.elsewhere import opened_store
from datamover.mover.placing import placement_for
from datamover.mover.report import Notice
from datamover.mover.rules import load_rules
from datamover.pipe.spec import parse_size
from datamover.placement.decision import Command, Placement
from datamover.placement.reason import value_text, when_text
from datamover.placement.rule import FILE_NAME, Rule
from datamover.placement.value import DECISIONS

__all__ = ["check", "explain"]

_RULES = (
    Column(key="line", heading="line", kind=Kind.COUNT),
    Column(key="rule", heading="rule"),
    Column(key="when", heading="when"),
    Column(key="decides", heading="decides"),
)
_EXPLAINED = (
    Column(key="path", heading="path"),
    Column(key="content", heading="content"),
    Column(key="size", heading="size", kind=Kind.BYTES),
    Column(key="key", heading="decided"),
    Column(key="value", heading="as"),
    Column(key="by", heading="by"),
    Column(key="line", heading="line", kind=Kind.COUNT),
    Column(key="why", heading="why"),
)
_WIDTHS = (40, 24, 8, 10, 8, 12, 4, 0)


def check(file: str, /, *, everywhere: Everywhere = DEFAULTS) -> None:
    """Read a file of placement rules, and show what they say.

    Args:
        file: A rule file, or the folder of a store that has one.
        everywhere: The options that every command takes.
    """
    path = Path(file)
    rules = load_rules(str(path / FILE_NAME) if path.is_dir() else file)
    rows = Rows(
        event="rule", columns=_RULES, rows=map(_rule, rules.rules), empty="there are no rules"
    )
    show(rows, everywhere)


def explain(
    paths: list[str],
    /,
    *,
    to: str | None = None,
    rules: str | None = None,
    name: str = "",
    codec: str | None = None,
    chunk_size: str | None = None,
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> int:
    """Say what a backup would do with files, by which rule and why.

    Args:
        paths: Files and folders.
        to: The store whose rules decide.
        rules: A file of placement rules, instead of the store's.
        name: What the archive would be called.
        codec: What the command would say, as `backup` takes it.
        chunk_size: Likewise.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    if to is None and rules is None:
        raise UsageError(reason="whose rules: give --to STORE or --rules FILE")
    command = Command(
        codec=None if codec is None else str(Codec.parse(codec)),
        chunk_size=None if chunk_size is None else parse_size(chunk_size),
    )
    notices: Counter[str] = Counter()
    with _placement(to, rules, name, command, network) as placement:

        def notice(kind: str, path: bytes, reason: str) -> None:
            notices[kind] += 1
            given = {"path": printable(path), "reason": reason}
            display.notice(Notice(kind=kind, stage="explain", given=given))

        with Display(everywhere) as display:
            found = mover.explain(placement, paths, archive=name, notice=notice)
            # A table needs all of its rows at once, and below a folder there may be a million.
            is_long = any(map(os.path.isdir, paths))
            columns = tuple(map(_wide, _EXPLAINED, _WIDTHS)) if is_long else _EXPLAINED
            rows = Rows(event="decision", columns=columns, rows=map(_row, found), stream=is_long)
            show(rows, everywhere)
    return of_notices(notices)


@contextmanager
def _placement(
    to: str | None, rules: str | None, name: str, command: Command, network: Network
) -> Iterator[Placement]:
    given = None if rules is None else load_rules(rules)
    if to is not None:
        with opened_store(to, None, network.travel()) as store:
            yield placement_for(store.depot, rules=given, command=command, archive=name)
    elif given is not None:
        yield Placement(given, command=command, archive=name, cipher="the store's")


def _wide(column: Column, width: int) -> Column:
    return replace(column, width=width)


def _rule(rule: Rule) -> tuple[Value, ...]:
    decided = [
        f"{key} {value_text(value)}"
        for key in DECISIONS
        if (value := getattr(rule, key)) is not None
    ]
    return rule.line, rule.name, when_text(rule.when), "; ".join(decided)


def _row(one: mover.Explained) -> tuple[Value, ...]:
    return (
        None if one.path is None else os.fsdecode(one.path),
        one.content,
        one.size,
        one.key,
        value_text(one.settled.value),
        one.settled.by,
        None if one.settled.rule is None else one.settled.rule.line,
        one.why,
    )
