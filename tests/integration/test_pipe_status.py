"""Status is read while tasks write it: never torn, never backwards, always within bounds."""

import pytest

from datamover.errors import StopRequestedError
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import Mode, PipeSpec
from datamover.testing.stages import copy, count, gather

BUFFERS = 12
GROWING = ("buffers_in", "bytes_in", "buffers_out", "bytes_out", "copied", "elapsed_s")


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("mode", [Mode.PROCESS, Mode.THREAD])
def test_reading_status_during_a_run_shows_no_torn_record(mode: Mode) -> None:
    with Monitor() as monitor:
        pipe = monitor.start(
            PipeSpec(
                name="status",
                stages=[count.stage(count=-1), copy.stage(instances=2), gather.stage()],
                buffers=BUFFERS,
                buffer_size=64,
                mode=mode,
            )
        )
        pipe.wait_ready()
        before: dict[tuple[str, int], tuple[float, ...]] = {}
        for round_ in range(3000):
            found = pipe.statistics()
            for stage in found.stages:
                assert 0 <= stage.queue <= 2 * BUFFERS
                for one in stage.instances:
                    now = tuple(getattr(one, name) for name in GROWING)
                    key = (one.stage, one.instance)
                    assert all(a <= b for a, b in zip(before.get(key, now), now, strict=True))
                    assert 0 <= one.held <= BUFFERS
                    # 24 to 30 bytes each: a torn sum would be far off.
                    assert 24 * (one.buffers_in - 1) <= one.bytes_in <= 30 * (one.buffers_in + 1)
                    before[key] = now
            assert sum(pipe.wiring.held().values()) <= BUFFERS
            if round_ % 50 == 0:
                monitor.step(0.0)
        assert before["gather", 0][0] > 0
        pipe.stop()
        with pytest.raises(StopRequestedError):
            pipe.wait()
