"""A finished job is summed up in words that fit it, and its notices decide the status."""

import json

import pytest

from datamover.cli.everywhere import Everywhere
from datamover.cli.summary import finish
from datamover.mover.report import StageShare, Summary

STAGE = StageShare(
    stage="compress",
    instances=2,
    busy=0.97,
    wait_input=0.01,
    wait_buffer=0.02,
    wait_output=0.0,
    buffers=10,
    bytes=10**7,
)


def summary(job, **given):
    facts = {
        "archive": "ab" * 16,
        "name": "daily",
        "files": 1234,
        "directories": 5,
        "others": 0,
        "bytes_in": 3 * 10**9,
        "bytes_out": 10**9,
        "seconds": 2.0,
        "notices": {},
        "stages": (STAGE,),
    }
    return Summary(job=job, **(facts | given))


def test_people_read_sizes_ratio_rate_and_busy_shares(capsys):
    status = finish(summary("backup"), Everywhere())

    out = capsys.readouterr().out
    lines = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    assert status == 0
    assert lines["bytes in"].strip() == "3.00 GB"
    assert lines["bytes stored"].strip() == "1.00 GB"
    assert lines["ratio"].strip() == "3.00"
    assert lines["time"].strip() == "2.00 s"
    assert lines["rate"].strip() == "1.50 GB/s"
    assert "97%" in lines["compress"]


def test_a_restore_has_the_ratio_of_its_backup(capsys):
    finish(summary("restore", bytes_in=10**9, bytes_out=3 * 10**9), Everywhere(json=True))

    assert json.loads(capsys.readouterr().out)["ratio"] == 3.0


def test_nothing_moved_has_no_rate_and_no_ratio(capsys):
    finish(summary("restore", bytes_in=0, bytes_out=0, seconds=0.0), Everywhere(json=True))

    found = json.loads(capsys.readouterr().out)
    assert (found["ratio"], found["rate"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("notices", "status"),
    [({}, 0), ({"archive": 2}, 0), ({"unreadable": 1}, 3), ({"unreadable": 0}, 0)],
)
def test_what_was_skipped_or_damaged_shows_in_the_status(notices, status):
    assert finish(summary("backup", notices=notices), Everywhere(quiet=True)) == status


def test_notices_are_counted_in_the_summary(capsys):
    finish(summary("backup", notices={"unreadable": 2}), Everywhere(json=True))

    assert json.loads(capsys.readouterr().out)["notices_unreadable"] == 2
