"""Leave a copy or a backup to the monitor, which goes on with it by itself.

Source: docs/spec/jobs.md; docs/guides/monitor.md.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from typing import TYPE_CHECKING

import msgspec

from datamover.cli.answer import Drawing
from datamover.cli.render import show
from datamover.cli.secret import take_from_environment
from datamover.codec.codec import Codec
from datamover.errors import UsageError
from datamover.files.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.cli.everywhere import Everywhere
    from datamover.mover.backup import BackupSettings
    from datamover.mover.copy import CopySettings
    from datamover.mover.travel import Travel

__all__ = ["begin_backup", "begin_copy"]

_LONGEST = 120


def begin_copy(
    given: Sequence[str], to: str, settings: CopySettings, travel: Travel, everywhere: Everywhere
) -> int:
    """Have the monitor copy, and say what it calls that.

    Raises:
        UsageError: What was asked for makes no sense, or is nothing to leave alone.
        PeerError: No monitor runs, or it says no.
    """
    if settings.dry_run or settings.itemize:
        raise UsageError(reason="--dry-run and --itemize tell somebody who waits, not the monitor")
    Codec.parse(settings.compress)
    job = {
        "sources": list(given),
        "target": to,
        "settings": msgspec.to_builtins(settings),
        "travel": msgspec.to_builtins(travel),
    }
    return _begin("copy", job, ["copy", *given, to], everywhere)


def begin_backup(
    given: Sequence[str], to: str, settings: BackupSettings, travel: Travel, everywhere: Everywhere
) -> int:
    """Have the monitor back up, and say what it calls that.

    Raises:
        UsageError: What was asked for makes no sense, or is nothing to leave alone.
        PeerError: No monitor runs, or it says no.
    """
    if settings.dry_run:
        raise UsageError(reason="--dry-run tells somebody who waits, not the monitor")
    file = everywhere.passphrase_file
    if file is None and take_from_environment() is not None:
        raise UsageError(reason="the monitor keeps no passphrase: name its --passphrase-file")
    job = {
        "sources": list(given),
        "store": to,
        "passphrase_file": os.path.abspath(file) if file else "",  # noqa: PTH100 - links stay
        "settings": msgspec.to_builtins(dataclasses.replace(settings, forecast=False)),
        "travel": msgspec.to_builtins(travel),
    }
    return _begin("backup", job, ["backup", *given, "--to", to], everywhere)


def _begin(kind: str, job: dict[str, object], words: Sequence[str], everywhere: Everywhere) -> int:
    # Imported late: most jobs are waited for.
    from datamover.monitor.local import LocalMonitor  # noqa: PLC0415 - as above

    job["folder"] = os.getcwd()  # noqa: PTH109 - with the links that a person sees
    job["what"] = printable(os.fsencode(shlex.join(words)))[:_LONGEST]
    with LocalMonitor.reach() as monitor:
        name = str(monitor.call("job.start", {"kind": kind, "given": job}).get("job"))
    told = Drawing(
        text=f"{name} has begun; `datamover status` and `datamover jobs` show it\n",
        json={"event": "job", "job": name},
    )
    if everywhere.json or not everywhere.quiet:
        show(told, everywhere)
    return 0
