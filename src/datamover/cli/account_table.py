"""What pipes do, as a table for people and as values for programs.

    pipe
      part, machine
        stage
          instance, pid
        path

Source: docs/reference/cli.md; SPEC C13, C17, X5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from datamover.cli.answer import Column, Drawing, Kind
from datamover.cli.measure import printable, rate_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from datamover.cli.answer import Value
    from datamover.wire.account import Account, InstanceAccount, PartAccount, StageAccount

__all__ = ["drawing_of", "flow_of"]

_COLUMNS: Final = (
    Column(key="what", heading="pipe, part, stage, task", width=26),
    Column(key="pid", heading="process"),
    Column(key="state", heading="state"),
    Column(key="waiting", heading="waiting", kind=Kind.COUNT),
    Column(key="held", heading="held", kind=Kind.COUNT),
    Column(key="bytes", heading="bytes", kind=Kind.BYTES),
    Column(key="rate", heading="rate", kind=Kind.RATE),
    Column(key="busy", heading="busy", kind=Kind.SHARE),
)

_LONGEST_NOTE: Final = 60

Rates = "Mapping[tuple[str, int, str, int], float]"


def drawing_of(
    accounts: Sequence[Account], *, rates: Mapping[tuple[str, int, str, int], float] | None = None
) -> Drawing:
    """Return the tree of every pipe.

    Args:
        accounts: What was told.
        rates: Bytes a second of an instance now, by ``flow_of``'s keys; by default since it began.
    """
    from datamover.cli import tables  # noqa: PLC0415 - Rich, which programs do not need

    rows = [row for account in accounts for row in _pipe(account, rates)]
    text = tables.rows(_COLUMNS, rows) if rows else "no pipe runs\n"
    plain = [msgspec.to_builtins(one, builtin_types=(bytes,)) for one in accounts]
    return Drawing(text=text, json={"event": "status", "pipes": plain})


def flow_of(accounts: Sequence[Account]) -> dict[tuple[str, int, str, int], tuple[float, int]]:
    """Return the age and the bytes of each instance, to tell rates by."""
    return {
        (account.pipe, part.part, stage.stage, one.instance): (one.elapsed_s, _bytes(one))
        for account in accounts
        for part in account.parts
        for stage in part.stages
        for one in stage.instances
    }


def _pipe(
    account: Account, rates: Mapping[tuple[str, int, str, int], float] | None
) -> Iterator[Sequence[Value]]:
    limit = f", limit {rate_text(account.limit)}" if account.limit else ""
    by = f", for {printable(account.by)}" if account.by else ""
    yield _row(printable(account.pipe), account.pid, f"{account.state}{limit}{by}")
    for line in account.note.splitlines():
        yield _row(f"  {printable(line[:_LONGEST_NOTE])}", 0, "")
    for part in account.parts:
        yield from _part(account, part, rates)


def _part(
    account: Account,
    part: PartAccount,
    rates: Mapping[tuple[str, int, str, int], float] | None,
) -> Iterator[Sequence[Value]]:
    machine = printable(part.machine) or "here"
    if len(account.parts) > 1 or part.machine:
        yield _row(f"  part {part.part} · {machine}", 0, part.state)
    for stage in part.stages:
        yield from _stage((account.pipe, part.part), stage, rates)
    for path in part.paths:
        if isinstance(guest := path.facts.get("guest"), int):
            state = printable(str(path.facts.get("state", "")))
            yield _row(f"    guest · {printable(path.stage)}", guest, state)
            continue
        facts = ", ".join(
            f"{name} {_fact(name, value)}"
            for name, value in path.facts.items()
            if name not in {"path", "state"}
        )
        state = printable(str(path.facts.get("state", "")))
        yield _row(f"    path {path.path} · {printable(path.stage)}", 0, f"{state} {facts}".strip())


def _stage(
    at: tuple[str, int],
    stage: StageAccount,
    rates: Mapping[tuple[str, int, str, int], float] | None,
) -> Iterator[Sequence[Value]]:
    if not stage.instances:
        yield (f"    {printable(stage.stage)}", "", "", stage.queue, None, None, None, None)
    for place, one in enumerate(stage.instances):
        rate = _bytes(one) / one.elapsed_s if one.elapsed_s else 0.0
        if rates is not None:
            rate = rates.get((*at, stage.stage, one.instance), 0.0)
        yield (
            f"    {printable(stage.stage)}.{one.instance}",
            str(one.pid or ""),
            one.state,
            stage.queue if place == 0 else None,
            one.held,
            _bytes(one),
            rate,
            one.busy_s / one.elapsed_s if one.elapsed_s else 0.0,
        )


def _row(what: str, pid: int, state: str) -> Sequence[Value]:
    return (what, str(pid or ""), state, None, None, None, None, None)


def _bytes(one: InstanceAccount) -> int:
    return max(one.bytes_in, one.bytes_out)


def _fact(name: str, value: object) -> str:
    if name == "rate" and isinstance(value, int | float):
        return rate_text(value)
    return printable(str(value))
