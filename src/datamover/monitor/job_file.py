"""Jobs of the daemon, as they outlive it: a small file each, durable before anything is done.

Source: docs/spec/jobs.md; SPEC G9, C19; issue 3.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from datamover.errors import MalformedError
from datamover.link.durable import PRIVATE, make_folder, remove_file, replace_file
from datamover.link.events import warn

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ENDED", "JobFile", "JobFolder"]

_VERSION: Final = 1
_LONGEST: Final = 1 << 20
_KEPT: Final = 100
"""Ended jobs whose files are kept."""
ENDED: Final = frozenset({"done", "failed", "stopped"})

Count = Annotated[int, msgspec.Meta(ge=0)]


class JobFile(msgspec.Struct, frozen=True, kw_only=True):
    """One job.

    Attributes:
        id: Its name, on this machine.
        kind: What it does.
        given: What exactly; see docs/spec/jobs.md.
        state: "running" also while nobody runs the daemon; "waiting": for its next attempt.
        attempts: How many were begun.
        begun: When it was asked for, in seconds since the epoch.
        ended: When it ended; 0: it has not.
        reason: Why the last attempt did not succeed.
        summary: What it did, when it is done.
    """

    version: Literal[1] = _VERSION
    id: Annotated[str, msgspec.Meta(pattern=r"\Ajob-[0-9a-f]{8}\Z")]
    kind: Literal["copy", "backup"] = "copy"
    given: dict[str, object]
    state: Literal["running", "waiting", "done", "failed", "stopped"] = "running"
    attempts: Count = 0
    begun: Count = 0
    ended: Count = 0
    reason: str = ""
    summary: dict[str, object] = {}


class JobFolder:
    """The files of all jobs."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; it is made with the first job."""
        self._folder = folder

    def write(self, job: JobFile) -> None:
        """Keep a job; durable when this returns.

        Raises:
            OSError: The system refuses; what was kept of it before is there.
            MalformedError: It is too long.
        """
        data = json.dumps(msgspec.to_builtins(job), indent=1).encode("ascii") + b"\n"
        if len(data) > _LONGEST:
            raise MalformedError(what="job", reason=f"{len(data)} bytes, {_LONGEST} may be")
        make_folder(self._folder)
        replace_file(self._path(job.id), data, mode=PRIVATE)
        if job.state in ENDED:
            self._forget_old()

    def read(self) -> list[JobFile]:
        """Return all jobs, the oldest first; a file that is none is left alone, and logged."""
        found: list[JobFile] = []
        for path in sorted(self._folder.glob("job-*.json")):
            try:
                found.append(_job(path))
            except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
                warn("job.unreadable", file=path.name, reason=error)
        return sorted(found, key=lambda job: (job.begun, job.id))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _forget_old(self) -> None:
        ended = sorted(
            (one for one in self.read() if one.state in ENDED), key=lambda one: one.ended
        )
        for old in ended[:-_KEPT]:
            remove_file(self._path(old.id))


def _job(path: Path) -> JobFile:
    with path.open("rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise ValueError(f"more than {_LONGEST} bytes")
    found = msgspec.convert(json.loads(data), JobFile)
    if path.name != f"{found.id}.json":
        raise ValueError(f"it says that it is {found.id}")
    return found
