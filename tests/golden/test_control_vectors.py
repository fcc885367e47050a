"""The bytes of control protocol version 1 are frozen: releases of different age talk.

``control/*.hex`` holds one message a file; the values are here.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datamover.wire.account import (
    Account,
    InstanceAccount,
    PartAccount,
    PathAccount,
    StageAccount,
)
from datamover.wire.control import ControlReader, encode
from datamover.wire.message import (
    TYPES,
    Answer,
    AskStatus,
    Call,
    Done,
    Extended,
    ExtendPipe,
    Hello,
    Identified,
    Identify,
    Initiated,
    InitiatePipe,
    Message,
    Part,
    Ping,
    PipeEnded,
    PipeNotice,
    Pong,
    Refused,
    SetLimit,
    Status,
    StopPipe,
    Welcome,
)

VECTORS = Path(__file__).parent / "control"
PART = PartAccount(
    part=1,
    machine="far",
    state="running",
    reason="every task is attached",
    elapsed_s=1.5,
    buffers=8,
    buffer_size=1 << 20,
    descriptors=31,
    stages=[
        StageAccount(
            stage="write",
            queue=2,
            instances=[InstanceAccount(instance=0, pid=77, state="running", bytes_in=1 << 40)],
        )
    ],
    paths=[PathAccount(stage="net_receive", path=0, facts={"rate": 1e9, "state": "open"})],
)
MESSAGES: dict[str, Message] = {
    "hello": Hello(release="0.1.0", machine="near", pid=7, versions=(1, 1), purpose="pipe"),
    "welcome": Welcome(
        release="0.1.0", machine="far", pid=9, version=1, serves=["list"], session="s-1"
    ),
    "refused": Refused(request=3, code="usage.spec", reason="no", hint="do", status=64),
    "ping": Ping(request=1),
    "pong": Pong(request=1),
    "extend-pipe": ExtendPipe(
        request=2,
        pipe="copy-1@near",
        part=1,
        spec={
            "name": "copy",
            "stages": [
                {"use": "read", "settings": {"path": b"/srv/\xff"}},
                {"use": "write", "settings": {"path": "/dev/null"}},
            ],
            "buffers": 8,
        },
    ),
    "extended": Extended(request=2, pipe="copy-1@near", part=1),
    "stop-pipe": StopPipe(request=4, pipe="copy-1@near", reason="enough"),
    "pipe-notice": PipeNotice(
        pipe="copy-1@near", part=1, stage="read", instance=0, kind="skipped", given={"path": "a"}
    ),
    "pipe-ended": PipeEnded(
        pipe="copy-1@near",
        part=1,
        how="failed",
        failure={"code": "pipe.stage-failed", "stage": "read"},
        results={"read": [{"bytes": 12}], "write": [{}]},
        account=PART,
    ),
    "done": Done(request=4),
    "set-limit": SetLimit(request=5, pipe="copy-1@near", bytes_per_s=200_000_000),
    "ask-status": AskStatus(request=6, pipe=""),
    "status": Status(
        request=6,
        pipes=[
            Account(
                pipe="copy-1@near",
                machine="far",
                pid=9,
                by="near",
                state="running",
                limit=5,
                parts=[PART],
            )
        ],
    ),
    "identify": Identify(request=7, pipe="p", place="tail", token=bytes(range(16)), pid=4),
    "identified": Identified(request=7, descriptors=["segment", "input"], given={"share": 4}),
    "initiate-pipe": InitiatePipe(
        request=8,
        name="p",
        stages=[{"module": "read", "instances": 1, "machine": "far"}],
        buffers=4,
        buffer_size=65536,
        on_death="retry",
        silence_s=30.0,
        direction="receive",
        invoker="tail",
        travel={"paths": 2},
    ),
    "initiated": Initiated(request=8, pipe="p-1@far", pid=4, gate="p.00", token=bytes(range(16))),
    "call": Call(request=9, method="list", given={"path": "/srv"}),
    "answer": Answer(request=9, values={"files": 2}),
    "part": Part(request=9, values={"name": b"\xff"}),
}


def read(data: bytes) -> list[Message]:
    reader = ControlReader()
    reader.open()
    reader.feed(data)
    return list(reader.messages())


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_said_is_what_was_always_said(name: str) -> None:
    path = VECTORS / f"{name}.hex"
    if os.environ.get("DATAMOVER_GOLDEN") == "write":
        path.write_text(encode(MESSAGES[name]).hex() + "\n")

    assert encode(MESSAGES[name]).hex() == path.read_text().strip()


@pytest.mark.parametrize("name", MESSAGES)
def test_what_was_said_is_still_understood(name: str) -> None:
    assert read(bytes.fromhex((VECTORS / f"{name}.hex").read_text())) == [MESSAGES[name]]


def test_every_type_has_a_vector() -> None:
    assert {type(message) for message in MESSAGES.values()} == {kind for kind, _ in TYPES.values()}
    assert {path.stem for path in VECTORS.glob("*.hex")} == set(MESSAGES)
