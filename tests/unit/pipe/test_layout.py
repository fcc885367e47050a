"""Tasks, queues and shares follow from the specification, or it is refused with the numbers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import SpecError
from datamover.pipe.definition import Definition
from datamover.pipe.layout import lay_out
from datamover.pipe.spec import Mode, PipeSpec, StageSpec
from datamover.pipe.stage import Role, StageInfo
from datamover.testing.stages import carry, copy, count, drop, gather, split
from datamover.units import MIB, Bytes


def pipe(*stages: StageSpec, **more) -> PipeSpec:
    return PipeSpec(name="p", stages=stages, **{"buffer_size": 64} | more)


def declared(role: Role, *, allocates: bool = False, parallel: bool = True) -> StageSpec:
    info = StageInfo(name="odd", role=role, allocates=allocates, parallel=parallel)
    return StageSpec(use="odd", definition=Definition(info, lambda _: None, None, "test:odd"))


def refusal(spec: PipeSpec) -> str:
    with pytest.raises(SpecError) as caught:
        lay_out(spec)
    return str(caught.value)


def test_each_queue_lies_between_two_stages_and_free_queues_close_the_ring() -> None:
    layout = lay_out(
        pipe(count.stage(), copy.stage(instances=2), carry.stage(), gather.stage(), buffers=12)
    )

    assert [(t.id, t.stage, t.instance) for t in layout.tasks] == [
        (0, 0, 0),
        (1, 1, 0),
        (2, 1, 1),
        (3, 2, 0),
        (4, 3, 0),
    ]
    assert [(t.producers, t.consumers) for t in layout.tasks] == [
        (0, 2),
        (1, 1),
        (1, 1),
        (2, 1),
        (1, 0),
    ]
    assert [t.buffers for t in layout.allocators()] == [range(4), range(4, 8), range(8, 12)]


@given(
    buffers=st.integers(8, 64),
    instances=st.lists(st.integers(1, 3), min_size=2, max_size=5),
    share=st.integers(0, 3),
)
def test_shares_are_disjoint_and_within_the_pool(buffers, instances, share) -> None:
    stages = [
        count.stage(instances=instances[0], share=share),
        *(copy.stage(instances=p) for p in instances[1:]),
        gather.stage(),
    ]
    try:
        layout = lay_out(pipe(*stages, buffers=buffers))
    except SpecError:
        allocating = sum(instances)
        assert share == 1 or buffers < allocating * max(2, share)
        return
    owned = [index for task in layout.allocators() for index in task.buffers]

    assert len(owned) == len(set(owned)) <= layout.geometry.buffers == buffers
    assert set(owned) <= set(range(buffers))
    assert all(len(task.buffers) >= 2 for task in layout.allocators())


def test_an_equal_share_is_the_pool_divided_by_the_allocating_instances() -> None:
    layout = lay_out(pipe(count.stage(), copy.stage(instances=3), gather.stage(), buffers=19))

    assert [len(task.buffers) for task in layout.allocators()] == [4, 4, 4, 4]


def test_a_share_below_two_is_refused_with_the_numbers() -> None:
    text = refusal(pipe(count.stage(), copy.stage(instances=2), gather.stage(), buffers=5))

    assert text == (
        "stage count: 5 buffers, 0 of them promised, leave 1 for each of 3 allocating "
        "instances; each needs 2"
    )


def test_shares_beyond_the_pool_are_refused_with_the_numbers() -> None:
    text = refusal(pipe(count.stage(share=8), copy.stage(share=4), gather.stage(), buffers=10))

    assert text == "shares add up to 12 buffers, the pool has 10"


@pytest.mark.parametrize("share", [-1, 1])
def test_a_fixed_share_below_two_is_refused(share: int) -> None:
    assert "each needs 2" in refusal(pipe(count.stage(share=share), gather.stage(), buffers=8))


def test_a_pool_of_automatic_size_keeps_to_half_the_cache() -> None:
    stages = [count.stage(), *(copy.stage() for _ in range(4)), gather.stage()]
    small = lay_out(PipeSpec(name="p", stages=stages, buffer_size=MIB), cache=Bytes(16 * MIB))
    large = lay_out(PipeSpec(name="p", stages=stages, buffer_size=MIB), cache=Bytes(1024 * MIB))

    assert small.geometry.buffers == 2 * 5  # the least, since half the cache has room for 7
    assert large.geometry.buffers == 4 * 5


def test_an_order_stage_stands_exactly_between_two_multi_instance_stages() -> None:
    layout = lay_out(
        pipe(
            count.stage(instances=2),
            carry.stage(instances=2),
            carry.stage(),
            carry.stage(instances=2),
            gather.stage(instances=2),
        )
    )

    assert [(s.name, s.instances, s.inserted) for s in layout.stages] == [
        ("count", 2, False),
        ("order", 1, True),
        ("carry", 2, False),
        ("carry-2", 1, False),
        ("carry-3", 2, False),
        ("order-2", 1, True),
        ("gather", 2, False),
    ]


def test_single_instance_stages_get_neither_stamps_nor_resequencer() -> None:
    layout = lay_out(pipe(count.stage(), carry.stage(), carry.stage(), gather.stage()))

    assert [(s.stamps, s.resequences) for s in layout.stages] == [(False, False)] * 4


def test_the_single_side_keeps_the_order() -> None:
    layout = lay_out(pipe(count.stage(), carry.stage(instances=3), drop.stage(), gather.stage()))

    assert [(s.stamps, s.resequences) for s in layout.stages] == [
        (True, False),
        (False, False),
        (False, True),
        (False, False),
    ]


def test_an_order_stage_that_was_asked_for_is_not_called_inserted() -> None:
    layout = lay_out(pipe(count.stage(), StageSpec(use="order"), gather.stage()))

    assert [stage.inserted for stage in layout.stages] == [False, False, False]


def test_names_are_unique_even_when_they_look_like_numbered_ones() -> None:
    layout = lay_out(
        pipe(
            count.stage(),
            carry.stage(name="a"),
            carry.stage(name="a"),
            carry.stage(name="a-2"),
            carry.stage(name="a"),
            gather.stage(),
        )
    )

    assert [stage.name for stage in layout.stages[1:-1]] == ["a", "a-3", "a-2", "a-4"]


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ([count.stage()], "a pipe has 2 to 64 stages, not 1"),
        ([count.stage(), *[carry.stage()] * 63, gather.stage()], "not 65"),
        ([carry.stage(), gather.stage()], "stage carry is a middle, and stands where a head must"),
        ([count.stage(), carry.stage()], "stage carry is a middle, and stands where a tail must"),
        (
            [count.stage(), gather.stage(), gather.stage()],
            "stage gather is a tail, and stands where a middle must",
        ),
        (
            [count.stage(), count.stage(), gather.stage()],
            "stage count is a head, and stands where a middle must",
        ),
        ([count.stage(instances=0), gather.stage()], "instances is 0, it must be 1 to 256"),
        ([count.stage(instances=257), gather.stage()], "instances is 257"),
        (
            [count.stage(), StageSpec(use="order", instances=2), gather.stage()],
            "stage order runs in one instance only, not 2",
        ),
        ([count.stage(mode=Mode.INLINE), gather.stage()], "inline is a mode of the whole pipe"),
        ([declared(Role.HEAD), gather.stage()], "stage odd: a head always allocates"),
        (
            [count.stage(), declared(Role.TAIL, allocates=True)],
            "stage odd: a tail never allocates",
        ),
        (
            [count.stage(), copy.stage(instances=240), gather.stage()],
            "241 instances allocate, a pipe has room for 240",
        ),
        ([StageSpec(use="nothing"), gather.stage()], "no stage is called nothing"),
        ([count.stage(colour="red"), gather.stage()], "unknown setting: colour; there are: count,"),
        (
            [count.stage(count="many"), gather.stage()],
            "stage count: Expected `int`, got `str` - at `$.count`",
        ),
        (
            [
                StageSpec(
                    use="test:plain",
                    settings={"b": 1, "a": 2},
                    definition=declared(Role.HEAD, allocates=True).definition,
                ),
                gather.stage(),
            ],
            "stage odd takes no settings: a, b",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(stages, text: str) -> None:
    assert re.search(re.escape(text), refusal(pipe(*stages)))


@pytest.mark.parametrize(
    "wrong", [{"buffer_size": 0}, {"buffer_size": 1 << 40}, {"buffers": 1 << 30}, {"buffers": -8}]
)
def test_a_pool_that_no_machine_has_is_refused(wrong) -> None:
    assert refusal(pipe(count.stage(), split.stage(), gather.stage(), **wrong))


def test_inline_is_for_all_and_other_modes_for_each() -> None:
    stages = [count.stage(), carry.stage(mode=Mode.THREAD), gather.stage()]

    assert {s.mode for s in lay_out(pipe(*stages, mode=Mode.INLINE)).stages} == {Mode.INLINE}
    assert [s.mode for s in lay_out(pipe(*stages)).stages] == [
        Mode.PROCESS,
        Mode.THREAD,
        Mode.PROCESS,
    ]


def test_a_stage_of_another_machine_is_not_laid_out_here():
    spec = PipeSpec(
        name="p",
        stages=(
            StageSpec(use="read", settings={"path": "-"}),
            StageSpec(use="discard", at="vault"),
        ),
    )

    with pytest.raises(SpecError, match="runs on vault"):
        lay_out(spec)
