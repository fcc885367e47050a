"""A fork server that dies is named, and the next pipe has a new one."""

import os
import signal

import pytest

from datamover.errors import ForkServerError
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import PipeSpec
from datamover.testing.stages import carry, count, digest, gather

pytestmark = pytest.mark.processes


def test_a_killed_fork_server_is_named_and_not_a_task() -> None:
    stages = [count.stage(count=1 << 40), carry.stage(instances=2), gather.stage()]
    with Monitor() as monitor:
        pipe = monitor.start(PipeSpec(name="orphaned", stages=stages))
        pipe.wait_ready(30.0)
        os.kill(monitor._launcher._server.pid, signal.SIGKILL)

        with pytest.raises(ForkServerError, match="the fork server was killed by signal 9"):
            pipe.wait()

        stages[0] = count.stage(count=50)
        outcome = monitor.start(PipeSpec(name="next", stages=stages)).wait()

    assert outcome.results["gather"][0]["digest"] == digest(range(50))


def test_a_fork_server_that_is_gone_before_the_start_is_named() -> None:
    stages = [count.stage(count=5), gather.stage()]
    with Monitor() as monitor:
        monitor.warm_up()
        server = monitor._launcher._server
        os.kill(server.pid, signal.SIGKILL)
        os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)

        with pytest.raises(ForkServerError, match="was killed by signal 9"):
            monitor.start(PipeSpec(name="late", stages=stages))
        while monitor._launcher is not None:
            monitor.step(0.1)

        assert monitor.start(PipeSpec(name="next", stages=stages)).wait()
