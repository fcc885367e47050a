"""One answer, three forms: a table for people, lines when piped, JSON for programs."""

import io
import json
import sys

import pytest

from datamover.cli import render, tables
from datamover.cli.answer import Column, Drawing, Kind, Record, Rows
from datamover.cli.everywhere import Everywhere
from datamover.cli.render import cell, plain, show
from datamover.cli.screen import OutputClosedError

COLUMNS = (
    Column(key="name", heading="name", width=6),
    Column(key="size", heading="size", kind=Kind.BYTES, width=8),
    Column(key="share", heading="share", kind=Kind.SHARE),
)
ROWS = [("a\tb", 1_500_000, 0.25), ("c\udcff", None, 1.0)]


def rows(**given):
    return Rows(event="thing", columns=COLUMNS, rows=iter(ROWS), **given)


@pytest.fixture
def terminal(monkeypatch):
    """Standard output is a terminal."""
    monkeypatch.setattr(render, "is_terminal", lambda _: True)
    monkeypatch.setattr(tables, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "80")


def test_json_is_one_object_a_line_and_says_what_it_is(capsys):
    show(rows(), Everywhere(json=True))

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"event": "thing", "name": "a\tb", "size": 1_500_000, "share": 0.25},
        {"event": "thing", "name": "c\udcff", "size": None, "share": 1.0},
    ]


def test_piped_rows_are_tab_separated_with_plain_numbers(capsys):
    show(rows(), Everywhere())

    assert capsys.readouterr().out == "a\\tb\t1500000\t0.25\nc\\xff\t\t1\n"


@pytest.mark.usefixtures("terminal")
def test_people_get_a_table_with_units_and_bars(capsys):
    show(rows(), Everywhere())

    out = capsys.readouterr().out
    assert "1.50 MB" in out
    assert "25% ██" in out
    assert "a\\tb" in out


@pytest.mark.usefixtures("terminal")
def test_a_stream_is_shown_without_waiting_for_its_end(capsys):
    def endless():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show(Rows(event="x", columns=COLUMNS, rows=endless(), stream=True), Everywhere())

    assert capsys.readouterr().out == "a\\tb     1.50 MB  25%\n"


@pytest.mark.usefixtures("terminal")
def test_no_rows_say_so_to_people_and_nothing_to_programs(capsys):
    nothing = Rows(event="x", columns=COLUMNS, rows=[], empty="no archive yet")
    show(nothing, Everywhere())
    show(nothing, Everywhere(json=True))

    assert capsys.readouterr().out == "no archive yet\n"


def test_a_record_is_one_object_with_its_parts_inside(capsys):
    record = Record(
        event="summary", title="done", columns=COLUMNS, values=ROWS[0], parts={"stages": rows()}
    )
    show(record, Everywhere(json=True))

    found = json.loads(capsys.readouterr().out)
    assert found["event"] == "summary"
    assert [part["name"] for part in found["stages"]] == ["a\tb", "c\udcff"]


def test_a_record_for_people_has_a_title_its_values_and_its_parts(capsys):
    record = Record(
        event="summary", title="done", columns=COLUMNS, values=ROWS[0], parts={"stages": rows()}
    )
    show(record, Everywhere())

    out = capsys.readouterr().out
    assert out.startswith("done\nname   a\\tb\nsize   1.50 MB\n")
    assert "c\\xff" in out
    assert "\x1b" not in out


@pytest.mark.usefixtures("terminal")
def test_markup_in_a_name_is_no_markup(capsys):
    show(Rows(event="x", columns=COLUMNS[:1], rows=[("[red]x[/red]",)]), Everywhere())

    assert "[red]x[/red]" in capsys.readouterr().out


def test_a_drawing_is_text_or_its_values(capsys):
    drawing = Drawing(text="-->\n", json={"event": "pipe"})
    show(drawing, Everywhere())
    show(drawing, Everywhere(json=True))

    assert capsys.readouterr().out == '-->\n{"event": "pipe"}\n'


def test_a_reader_that_has_gone_is_no_error_of_ours(monkeypatch):
    class Closed(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())

    with pytest.raises(OutputClosedError):
        show(rows(), Everywhere(json=True))


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, Kind.BYTES, "-"),
        (1234, Kind.COUNT, "1,234"),
        (2.5, Kind.RATIO, "2.50"),
        (1.234, Kind.SECONDS, "1.23 s"),
        (5e8, Kind.RATE, "500 MB/s"),
        (0, Kind.TIME, "1970-01-01 00:00:00Z"),
        (0o100644, Kind.MODE, "-rw-r--r--"),
        (True, Kind.TEXT, "yes"),
        ("a\nb", Kind.TEXT, "a\\nb"),
    ],
)
def test_each_kind_of_value_has_its_way_of_being_written(value, kind, text):
    assert cell(value, kind) == text


def test_plain_values_are_for_scripts():
    values = (None, True, 5, 0.5, "a\n")
    assert [plain(v, Kind.BYTES) for v in values] == ["", "yes", "5", "0.5", "a\\n"]
    assert plain(0o100644, Kind.MODE) == "100644"
