"""``datamover catalog rebuild STORE``: make the catalog again, from the chunks alone."""

from datamover.cli.answer import Column, Kind, Record, Rows
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.measure import printable
from datamover.cli.render import show
from datamover.cli.screen import say
from datamover.cli.secret import Passphrase
from datamover.cli.status import Status
from datamover.mover.rebuild import rebuild_catalog

__all__ = ["rebuild"]

_COLUMNS = (
    Column(key="job", heading="job"),
    Column(key="complete", heading="complete archives", kind=Kind.COUNT),
    Column(key="incomplete", heading="incomplete archives", kind=Kind.COUNT),
    Column(key="chunks", heading="chunk files", kind=Kind.COUNT),
)
_NOTE = (Column(key="note", heading="damaged or missing"),)


def rebuild(store: str, /, *, everywhere: Everywhere = DEFAULTS) -> int:
    """Make the catalog of a store again, from its chunks alone.

    Args:
        store: The store.
        everywhere: The options that every command takes.
    """
    rebuilt = rebuild_catalog(store, Passphrase(everywhere.passphrase_file))
    notes = Rows(event="note", columns=_NOTE, rows=[(note,) for note in rebuilt.notes])
    if everywhere.json or not everywhere.quiet:
        values = ("rebuild", rebuilt.complete, rebuilt.incomplete, rebuilt.chunks)
        show(
            Record(
                event="summary",
                title="catalog rebuilt",
                columns=_COLUMNS,
                values=values,
                parts={"notes": notes},
            ),
            everywhere,
        )
    else:
        for note in rebuilt.notes:
            say(f"notice: {printable(note)}")
    return Status.INCOMPLETE if rebuilt.notes else Status.FINE
