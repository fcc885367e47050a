"""The daemon's log: one line an event on standard error, for people or for programs.

    2026-11-24T15:00:00Z info monitor.started pid=7
    {"time": "2026-11-24T15:00:00Z", "level": "info", "event": "monitor.started", "pid": 7}

Source: docs/spec/trust.md, section 9; SPEC C17.
"""

from __future__ import annotations

import json
import logging
import sys
import time

from datamover.link.events import LOGGER, Fields

__all__ = ["start_log"]

_NAMED = 2


def start_log(*, as_json: bool) -> None:
    """Write events to standard error from here on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Text())
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def _time_of(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_time_of(record)} {record.levelname.lower()} {record.getMessage()}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        match record.args:
            case (str() as event, Fields() as fields):
                told["event"] = event
                told.update(fields.plain())
            case _:
                pass
        return json.dumps(told)
