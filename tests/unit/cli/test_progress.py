"""The progress line says what is known, and notices are never lost."""

import json

import pytest

from datamover.cli import progress
from datamover.cli.estimate import Estimator
from datamover.cli.everywhere import Everywhere
from datamover.cli.progress import Display, notice_text, progress_text
from datamover.mover.report import Notice, Progress


def at(elapsed, done, *, total=None, files=12_345):
    return Progress(
        job="backup",
        elapsed_s=elapsed,
        files=files,
        bytes_in=done,
        bytes_out=done // 2,
        total_files=None,
        total_bytes=total,
        limiting="compress",
        limiting_busy=0.973,
    )


@pytest.fixture
def terminal(monkeypatch):
    """Standard error is a terminal of 60 columns."""
    monkeypatch.setattr(progress, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "60")


def notices(count):
    return [
        Notice(kind="unreadable", stage="collect", given={"path": f"/{n}"}) for n in range(count)
    ]


def test_the_line_has_rate_files_bytes_share_time_left_and_the_limiting_stage():
    estimator = Estimator()
    for tenth in range(1, 101):
        estimator.update(elapsed=tenth / 10, done=tenth * 10_000_000)
    text = progress_text(at(10.0, 10**9, total=4 * 10**9), estimator)

    assert text == (
        "backup  100 MB/s  12,345 files  1.00 GB of 4.00 GB  25%  ETA 0:30  "
        "limit: compress 97% busy"
    )


def test_what_is_not_known_is_left_out():
    text = progress_text(at(10.0, 10**9), Estimator())

    assert "ETA" not in text
    assert "of" not in text.split("limit")[0]


def test_a_total_that_was_passed_is_not_shown():
    assert "%  " not in progress_text(at(10.0, 10**9, total=5), Estimator())


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_one_line_that_fits_and_is_cleared(capsys):
    with Display(Everywhere()) as display:
        display.progress(at(0.5, 1))
        assert capsys.readouterr().err == ""
        display.progress(at(1.5, 10**9))
        shown = capsys.readouterr().err

    assert shown.startswith("\r\x1b[2Kbackup")
    assert "\n" not in shown
    assert len(shown.removeprefix("\r\x1b[2K")) < 60
    assert capsys.readouterr().err == "\r\x1b[2K"


def test_a_file_gets_a_line_every_ten_seconds(capsys):
    with Display(Everywhere()) as display:
        for second in range(1, 26):
            display.progress(at(float(second), second))

    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("everywhere", [Everywhere(quiet=True), Everywhere(json=True)])
def test_whoever_wants_quiet_or_json_gets_no_progress(everywhere, capsys):
    with Display(everywhere) as display:
        display.progress(at(60.0, 1))

    assert capsys.readouterr().err == ""


def test_people_see_twenty_notices_and_how_many_more(capsys):
    with Display(Everywhere(quiet=True)) as display:
        for notice in notices(25):
            display.notice(notice)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[0] == "notice[unreadable]: /0"
    assert lines[-1] == "notice: 5 more; all of them with --json"


def test_programs_see_every_notice(capsys):
    with Display(Everywhere(json=True)) as display:
        for notice in notices(25):
            display.notice(notice)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 25
    assert lines[3] == {
        "event": "notice",
        "kind": "unreadable",
        "stage": "collect",
        "given": {"path": "/3"},
    }


def test_a_notice_says_where_why_and_everything_else():
    notice = Notice(
        kind="damaged",
        stage="verify",
        given={
            "chunk": "00/ab",
            "block": 7,
            "offset": 4096,
            "reason": "CRC\n",
            "path": "a",
            "paths": "a, b\\n",
        },
    )

    assert notice_text(notice) == (
        "notice[damaged]: chunk 00/ab, block 7, offset 4096: CRC\\n (paths a, b\\n)"
    )


@pytest.mark.usefixtures("terminal")
def test_a_notice_clears_the_line_it_is_printed_over(capsys):
    with Display(Everywhere()) as display:
        display.progress(at(1.5, 10**9))
        capsys.readouterr()
        display.notice(notices(1)[0])

        assert capsys.readouterr().err == "\r\x1b[2Knotice[unreadable]: /0\n"
