"""What is logged is one line, whatever a peer calls itself."""

import logging

from hypothesis import given
from hypothesis import strategies as st

from datamover.link.events import LOGGER, tell, warn


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@given(st.text(), st.text())
def test_a_value_cannot_make_a_line_nor_a_field(one, two):
    handler = Lines()
    LOGGER.addHandler(handler)
    try:
        warn("peer.refused", machine=one, place=two)
    finally:
        LOGGER.removeHandler(handler)
    (line,) = handler.lines

    assert line.isprintable()
    assert line.isascii()
    assert line.count(" place=") == 1 or " place=" in repr(one)
    assert len(line) < 3000


def test_a_line_is_an_event_and_its_fields(caplog):
    caplog.set_level(logging.INFO, logger="datamover.link")
    tell("fleet.joined", machine="laptop", reason="in two words", nothing="")

    assert caplog.messages == ["fleet.joined machine=laptop reason='in two words' nothing=''"]
