"""Which stages are replaced when they die follows from the policy and from what they declare."""

import pytest

from datamover.errors import SpecError
from datamover.pipe.definition import middle
from datamover.pipe.layout import lay_out
from datamover.pipe.spec import Mode, OnDeath, PipeSpec, load_spec
from datamover.pipe.stage import FanOut
from datamover.testing.stages import carry, copy, count, flip, gather, split

STOP, RETRY = OnDeath.STOP, OnDeath.RETRY


@middle
def stateful(port):
    for buffer in port.incoming():
        port.send(buffer)


@middle(replayable=True, fan_out=FanOut.MANY)
def many(port):
    for buffer in port.incoming():
        port.send(buffer)


def laid(*middles, on_death=RETRY, mode=Mode.PROCESS, tail=None):
    stages = [count.stage(), *middles, tail or gather.stage()]
    return lay_out(
        PipeSpec(name="r", stages=stages, on_death=on_death, mode=mode, buffer_size=64)
    ).stages


def retried(*middles, **given):
    return [stage.retried for stage in laid(*middles, **given)]


def test_the_policy_of_the_pipe_holds_for_stages_that_are_replayable():
    assert retried(carry.stage(), stateful.stage()) == [False, True, False, False]
    assert retried(carry.stage(), on_death=STOP) == [False] * 3


def test_a_stage_has_a_policy_of_its_own():
    assert retried(carry.stage(on_death=RETRY), on_death=STOP) == [False, True, False]
    assert retried(carry.stage(on_death=STOP)) == [False] * 3


def test_joined_stages_are_replaced_together_or_not_at_all():
    assert retried(carry.stage(), copy.stage(joined=True)) == [False, True, True, False]
    assert retried(carry.stage(), stateful.stage(joined=True)) == [False] * 4
    assert retried(carry.stage(on_death=STOP), copy.stage(joined=True)) == [False] * 4


@pytest.mark.parametrize(
    ("middles", "message"),
    [
        ([stateful.stage(on_death=RETRY)], "stage stateful: .* stateful is not replayable"),
        ([carry.stage(on_death=RETRY), stateful.stage(joined=True)], "stage carry: .*not replay"),
        ([many.stage(on_death=RETRY)], "many sends many buffers for one"),
        ([carry.stage(on_death=RETRY), copy.stage(joined=True, on_death=STOP)], "copy.* has stop"),
    ],
)
def test_who_asks_and_cannot_have_it_is_refused(middles, message):
    with pytest.raises(SpecError, match=message):
        laid(*middles)


def test_tails_and_heads_are_not_replaced():
    with pytest.raises(SpecError, match="gather is a tail"):
        laid(carry.stage(), tail=gather.stage(on_death=RETRY))


def test_every_stage_of_such_a_pipe_is_a_process():
    with pytest.raises(SpecError, match=r"stage carry: .* and gather is a thread"):
        laid(carry.stage(), tail=gather.stage(mode=Mode.THREAD))


@pytest.mark.parametrize("mode", [Mode.THREAD, Mode.INLINE])
def test_where_nothing_can_be_killed_the_policy_means_nothing(mode):
    assert not any(retried(carry.stage(), mode=mode))
    assert not any(retried(carry.stage(on_death=RETRY), mode=mode))


def test_one_instance_that_may_be_replaced_is_put_back_in_order_as_several_are():
    stages = laid(carry.stage(), split.stage())

    assert [stage.resequences for stage in stages] == [False, False, True, False]
    assert [stage.stamps for stage in stages] == [True, False, False, False]
    assert [stage.inserted for stage in laid(carry.stage(), copy.stage())] == [
        False, False, True, False, False,
    ]  # fmt: skip


def test_who_overwrites_has_a_share_for_copies_where_it_may_be_replaced():
    assert laid(flip.stage())[1].share >= 2
    assert laid(flip.stage(), on_death=STOP)[1].share == 0


def test_the_policy_is_read_from_a_file(tmp_path):
    path = tmp_path / "pipe.toml"
    path.write_text(
        'name = "p"\non_death = "retry"\n[[stage]]\nuse = "read"\n'
        '[[stage]]\nuse = "compress"\non_death = "stop"\n[[stage]]\nuse = "discard"\n'
    )
    spec = load_spec(str(path))

    assert spec.on_death is RETRY
    assert [stage.on_death for stage in spec.stages] == [None, STOP, None]
    path.write_text(path.read_text().replace('"retry"', '"pray"'))
    with pytest.raises(SpecError, match="pray"):
        load_spec(str(path))
