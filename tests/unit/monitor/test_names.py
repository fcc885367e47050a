"""The name of a pipe is its own on every machine: process, time, number and host.  SPEC C7."""

import os
import socket

from datamover.monitor import supervisor
from datamover.monitor.supervisor import new_name
from datamover.pipe.spec import PipeSpec, StageSpec

SPEC = PipeSpec(name="p", stages=[StageSpec(use="read"), StageSpec(use="discard")])


def test_ten_thousand_are_ten_thousand_though_the_clock_stands_still(monkeypatch):
    monkeypatch.setattr(supervisor.time, "time_ns", lambda: 1795546057081044399)
    names = {new_name(SPEC) for _ in range(10_000)}

    assert len(names) == 10_000


def test_it_says_who_made_it_when_and_where(monkeypatch):
    monkeypatch.setattr(supervisor.time, "time_ns", lambda: 0xABC)
    begun, _, host = new_name(SPEC).partition("@")
    name, pid, when, _ = begun.split("-")

    assert (name, pid, when, host) == ("p", str(os.getpid()), "abc", socket.gethostname())
