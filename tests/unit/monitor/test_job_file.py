"""A job's file is whole or as it was, holds any name, and is forgotten when it is old."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from datamover.monitor.job_file import JobFile, JobFolder

if TYPE_CHECKING:
    from pathlib import Path

NAME = os.fsdecode(b"caf\xe9")


def job(number: int, **given: object) -> JobFile:
    return JobFile(id=f"job-{number:08x}", given={"sources": [NAME]}, begun=number, **given)


def test_what_is_kept_comes_back_any_name_in_it(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "jobs")
    folder.write(job(2))
    folder.write(job(1))
    folder.write(msgspec.structs.replace(job(2), state="waiting", attempts=3))
    found = folder.read()

    assert [(one.id[-1], one.state, one.attempts) for one in found] == [
        ("1", "running", 0),
        ("2", "waiting", 3),
    ]
    assert found[0].given == {"sources": [NAME]}
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "jobs").iterdir())


def test_what_ended_long_ago_is_forgotten_and_what_goes_on_never_is(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.write(job(0))
    for number in range(1, 104):
        folder.write(job(number, state="done", ended=number))
    found = [one.begun for one in folder.read()]

    assert found == [0, *range(4, 104)]


def test_there_may_be_no_folder_yet(tmp_path: Path) -> None:
    assert JobFolder(tmp_path / "jobs").read() == []
