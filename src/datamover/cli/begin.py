"""Leave a copy to the monitor, which goes on with it by itself.

Source: docs/spec/jobs.md; docs/guides/monitor.md.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import msgspec

from datamover.cli.answer import Drawing
from datamover.cli.render import show
from datamover.codec.codec import Codec
from datamover.errors import UsageError
from datamover.files.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.cli.everywhere import Everywhere
    from datamover.mover.copy import CopySettings
    from datamover.mover.travel import Travel

__all__ = ["begin"]

_LONGEST = 120


def begin(
    given: Sequence[str], to: str, settings: CopySettings, travel: Travel, everywhere: Everywhere
) -> int:
    """Have the monitor copy, and say what it calls that.

    Raises:
        UsageError: What was asked for makes no sense, or is nothing to leave alone.
        PeerError: No monitor runs, or it says no.
    """
    # Imported late: most copies are waited for.
    from datamover.monitor.local import LocalMonitor  # noqa: PLC0415 - as above

    if settings.dry_run or settings.itemize:
        raise UsageError(reason="--dry-run and --itemize tell somebody who waits, not the monitor")
    Codec.parse(settings.compress)
    what = " ".join(["copy", *map(shlex.quote, given), shlex.quote(to)])
    job = {
        "folder": os.getcwd(),  # noqa: PTH109 - with the links that a person sees
        "sources": list(given),
        "target": to,
        "settings": msgspec.to_builtins(settings),
        "travel": msgspec.to_builtins(travel),
        "what": printable(os.fsencode(what))[:_LONGEST],
    }
    with LocalMonitor.reach() as monitor:
        name = str(monitor.call("job.start", {"kind": "copy", "given": job}).get("job"))
    told = Drawing(
        text=f"{name} has begun; `datamover status` and `datamover jobs` show it\n",
        json={"event": "job", "job": name},
    )
    if everywhere.json or not everywhere.quiet:
        show(told, everywhere)
    return 0
