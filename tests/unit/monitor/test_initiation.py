"""Every field of InitiatePipe is judged, and one that is wrong is named."""

from __future__ import annotations

import msgspec
import pytest

from datamover.errors import SpecError
from datamover.monitor.initiation import Ask, asking, initiation
from datamover.pipe.spec import Mode, OnDeath, OnQuota, PipeSpec, StageSpec
from datamover.wire.attach import GuestPlace

SPEC = PipeSpec(
    name="p",
    stages=(
        StageSpec(use="read", name="in", settings={"path": "x"}, share=4, at="far"),
        StageSpec(use="checksum", instances=3, on_death=OnDeath.RETRY),
        StageSpec(use="verify", instances=3, joined=True),
        StageSpec(use="discard", on_quota=OnQuota.TERMINATE),
    ),
    buffers=9,
    buffer_size=4096,
    on_death=OnDeath.RETRY,
)
HERE = msgspec.structs.replace(
    SPEC, stages=(StageSpec(use="read", settings={"path": "x"}), StageSpec(use="discard"))
)


def drawn(size: int) -> bytes:
    return bytes(range(size))


def test_what_is_asked_for_is_what_was_meant() -> None:
    assert initiation(asking(SPEC, Ask(direction="receive")), drawn).spec == SPEC


def test_buffers_have_the_usual_size_where_none_is_said() -> None:
    message = msgspec.structs.replace(asking(HERE, Ask()), buffer_size=0)

    assert initiation(message, drawn).spec.buffer_size == 1 << 20


@pytest.mark.parametrize("invoker", ["head", "tail"])
def test_an_invoker_that_is_an_end_gets_a_gate_there(invoker: str) -> None:
    message = msgspec.structs.replace(asking(HERE, Ask()), stages=[{"module": "checksum"}])
    made = initiation(msgspec.structs.replace(message, invoker=invoker), drawn)
    gate = made.spec.stages[0 if invoker == "head" else -1]

    assert gate.use == {"head": "from_guest", "tail": "to_guest"}[invoker]
    assert gate.settings == {"pipe": made.gate, "token": made.token.hex()}
    assert made.token == drawn(16)
    assert made.place is GuestPlace[invoker.upper()]


@pytest.mark.parametrize(
    ("direction", "first", "last", "fits"),
    [
        ("", "far", "", True),
        ("send", "", "far", True),
        ("send", "far", "", False),
        ("receive", "far", "", True),
        ("receive", "", "far", False),
        ("relay", "far", "away", True),
        ("relay", "", "far", False),
        ("send", "", "", True),
        ("receive", "", "", True),
    ],
)
def test_a_direction_must_be_where_the_machines_lie(
    direction: str, first: str, last: str, fits: bool
) -> None:
    stages = [{"module": "read", "machine": first}, {"module": "discard", "machine": last}]
    message = msgspec.structs.replace(asking(HERE, Ask()), stages=stages, direction=direction)
    if fits:
        assert [one.at for one in initiation(message, drawn).spec.stages] == [first, last]
        return
    with pytest.raises(SpecError, match="direction"):
        initiation(message, drawn)


def pair(**given: object) -> dict[str, object]:
    return {"stages": [{"module": "read", **given}, {"module": "discard"}]}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": "a b"}, "name: 'a b'"),
        ({"name": ""}, "name"),
        (pair(module="nonesuch"), "nonesuch"),
        (pair(module="os:system"), "named by a word"),
        (pair(module="net_receive"), "net_receive"),
        (pair(speed=9), "speed"),
        (pair(instances="many"), "instances"),
        (pair(allocates=False), "read does allocate"),
        (pair(settings={"path": "-"}), "standard input"),
        (pair(on_death="never"), "on_death"),
        (pair(machine=3), "machine"),
        ({"buffer_size": 1 << 40}, "buffer_size"),
        ({"stages": [{"module": "read"}]}, "stages: 1"),
        ({"stages": [{"module": "read"}] * 65}, "stages: 65"),
    ],
)
def test_a_wrong_field_is_named(given: dict[str, object], text: str) -> None:
    message = msgspec.structs.replace(asking(HERE, Ask()), **given)
    with pytest.raises(SpecError, match=text):
        initiation(message, drawn)


def test_threads_are_for_the_program_that_has_them() -> None:
    with pytest.raises(SpecError, match="processes"):
        asking(msgspec.structs.replace(HERE, mode=Mode.THREAD), Ask())


def test_what_allocates_may_be_said_rightly() -> None:
    message = msgspec.structs.replace(asking(HERE, Ask()), **pair(allocates=True))

    assert initiation(message, drawn).spec.stages[0].use == "read"
