"""A border over real links: their rates add up, and one may go and come back.

Hosts are network namespaces; links have their rate by a token bucket.
"""

from __future__ import annotations

import json
import os
import sys
import time

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PAYLOAD = 1448 / 1514


class Halves:
    """A sender on one host and a receiver on another."""

    def __init__(self, source, destination, addresses, **given) -> None:
        both = {
            "token": os.urandom(16).hex(),
            "secret": os.urandom(32).hex(),
            "protection": "sealed",
            "paths": len(addresses),
            "size": 250_000,
            "window": 16,
            "stall_s": 2.0,
            **given,
        }
        program = [sys.executable, "-m", "datamover.testing.half"]
        self.receiver = destination.popen([*program, "receive", json.dumps(both | {"port": 7007})])
        assert self.receiver.stdout.readline() == b"ready\n"
        dial = [f"{one}:7007" for one in addresses]
        self.sender = source.popen([*program, "send", json.dumps(both | {"dial": dial})])

    def finish(self) -> tuple[float, dict, dict]:
        """Return the rate in Mbit/s, and what both sides said last."""
        sent = self.sender.stdout.read().splitlines()
        received = self.receiver.stdout.read().splitlines()
        assert (self.sender.wait(20), self.receiver.wait(20)) == (0, 0)
        left, right = json.loads(sent[-1]), json.loads(received[-1])
        found = right["results"]["clocked"][0]
        assert found["digest"] == right["expected"]
        return found["bytes"] * 8 / found["seconds"] / 1e6, left, right


@pytest.fixture
def pair(make_network):
    network = make_network("source", "destination")
    return network, *network.hosts


def test_two_links_are_used_to_the_full(pair) -> None:
    network, source, destination = pair
    links = [network.connect(source, destination, mbit=mbit) for mbit in (200, 100)]
    # A machine that is busy with something else cannot keep the links busy: it may try again.
    for _ in range(4):
        halves = Halves(source, destination, [x.address(destination) for x in links], numbers=600)
        rate, left, _ = halves.finish()
        if rate > 0.95 * 300 * PAYLOAD:
            break

    assert rate > 0.95 * 300 * PAYLOAD
    assert left["results"]["net_send"][0]["resent"] == 0
    assert left["paths"]["0"]["rate"] > left["paths"]["1"]["rate"]


def test_a_very_slow_link_costs_nothing(pair) -> None:
    network, source, destination = pair
    links = [network.connect(source, destination, mbit=mbit) for mbit in (200, 2)]
    halves = Halves(source, destination, [x.address(destination) for x in links], numbers=600)
    rate, left, _ = halves.finish()

    # Its first frame takes a second, before anybody knows how slow it is.
    assert rate > 0.7 * 200 * PAYLOAD
    assert left["paths"]["1"]["frames"] < 10


def test_a_link_that_is_pulled_and_put_back_loses_nothing(pair) -> None:
    network, source, destination = pair
    links = [network.connect(source, destination, mbit=mbit) for mbit in (100, 50)]
    halves = Halves(source, destination, [x.address(destination) for x in links], numbers=600)
    deadline = time.monotonic() + 20
    while links[1].received(destination) < 2_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    links[1].down()
    before = links[1].received(destination)
    while links[0].received(destination) < 30_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    links[1].up()
    _, left, _ = halves.finish()

    assert 0 < left["results"]["net_send"][0]["resent"] <= 16
    assert links[1].received(destination) > before + 2_000_000
