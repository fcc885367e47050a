"""One half of a border as a program, to be run on a host of its own.

    python -m datamover.testing.half receive '{"numbers": 100, "size": 1000000, ...}'
    python -m datamover.testing.half send '{"dial": ["10.1.0.2:7000"], ...}'

The receiving half says ``ready`` when it can be dialed; each says at the end, as JSON, what its
stages left, and every notice of a path as it comes.

Source: docs/spec/link-protocol.md; SPEC X15.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datamover.link.doorway import door_path
from datamover.monitor.supervisor import Monitor
from datamover.pipe.definition import head, tail
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.testing.porter import Porter
from datamover.testing.stages import digest, read_number, write_number

if TYPE_CHECKING:
    from datamover.pipe.ports import HeadPort, TailPort

__all__ = ["clocked", "repeat"]

_OURS = frozenset({"numbers", "size", "window", "port", "limit"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeating:
    """How many numbers, in buffers of how many bytes."""

    numbers: int
    size: int


@head
def repeat(port: HeadPort, settings: Repeating) -> None:
    """Send the numbers."""
    for number in range(settings.numbers):
        buffer = port.alloc()
        write_number(buffer, number, settings.size)
        port.send(buffer)


@tail
def clocked(port: TailPort) -> None:
    """Check every buffer; leave their digest, and the time from the first to the last."""
    numbers, length, start = [], 0, 0.0
    for buffer in port.incoming():
        if not start:
            start = time.monotonic()
        else:
            length += buffer.used
        numbers.append(read_number(buffer))
        port.free(buffer)
    seconds = time.monotonic() - start
    port.result({"digest": digest(numbers), "seconds": seconds, "bytes": length})


def main(role: str, given: dict[str, Any]) -> None:
    """Run one half to its end."""
    size, window = given["size"], given.get("window", 8)
    border = {name: value for name, value in given.items() if name not in _OURS}
    with tempfile.TemporaryDirectory() as runtime, Monitor() as monitor:
        if role == "receive":
            border["door"] = door_path(runtime, bytes.fromhex(given["token"]))
            stages = [StageSpec(use="net_receive", settings=border), clocked.stage()]
        else:
            source = repeat.stage(numbers=given["numbers"], size=size)
            stages = [source, StageSpec(use="net_send", settings=border)]
        spec = PipeSpec(name=role, stages=stages, buffers=window, buffer_size=size + 100)
        pipe = monitor.start(spec, on_notice=lambda *notice: print(json.dumps(notice), flush=True))  # noqa: T201
        if given.get("limit"):
            pipe.set_limit(given["limit"])
        pipe.wait_ready()
        if role == "receive":
            with Porter(runtime, host="", port=given["port"]):
                print("ready", flush=True)  # noqa: T201
                outcome = pipe.wait()
        else:
            outcome = pipe.wait()
        paths = {str(path): facts for (_, path), facts in pipe.paths.items()}
        said = {
            "results": outcome.results,
            "paths": paths,
            "expected": digest(range(given["numbers"])),
        }
        print(json.dumps(said), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
