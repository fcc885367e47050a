"""A port believes no token: the number in it is that of a buffer of the pool, or refused."""

import pytest

from datamover.errors import OwnershipError
from datamover.monitor.wiring import Wiring
from datamover.pipe.control import DirectControl
from datamover.pipe.counters import Counters
from datamover.pipe.layout import lay_out
from datamover.pipe.port import TaskPort
from datamover.pipe.spec import Mode, PipeSpec
from datamover.pipe.waiter import PollWaiter
from datamover.shm.tokens import Token
from datamover.testing.stages import carry, count, gather

BUFFERS = 4


@pytest.fixture
def wiring():
    stages = [count.stage(), carry.stage(instances=2), gather.stage()]
    made = Wiring(lay_out(PipeSpec(name="p", stages=stages, buffers=BUFFERS, mode=Mode.INLINE)))
    yield made
    made.close()


@pytest.fixture
def port_of(wiring):
    ports = []

    def make(task: int) -> TaskPort:
        facts = wiring.facts(wiring.layout.tasks[task])
        ports.append(
            TaskPort(
                facts,
                wiring.segment,
                control=DirectControl(lambda _: None),
                counters=Counters(wiring.segment.record(task)),
                waiter=PollWaiter(facts.descriptors.control),
            )
        )
        return ports[-1]

    yield make
    for port in ports:
        port.release()


@pytest.mark.parametrize("index", [BUFFERS, 1 << 20])
def test_a_free_buffer_is_one_of_the_pool(wiring, port_of, index) -> None:
    wiring.free[0].drain()
    wiring.free[0].put(Token(index, 0, 0))

    with pytest.raises(OwnershipError, match=f"buffer {index}: the pool has no such buffer"):
        port_of(0).alloc()


@pytest.mark.parametrize("task", [1, 3], ids=["straight", "back in order"])
def test_a_buffer_that_arrives_is_one_of_the_pool(wiring, port_of, task) -> None:
    wiring.queues[wiring.layout.tasks[task].stage - 1].put(Token(BUFFERS, 0, 0))

    with pytest.raises(OwnershipError, match="buffer 4: the pool has no such buffer"):
        port_of(task).receive()
