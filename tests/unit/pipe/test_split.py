"""A pipe is cut where its stages change machine, and nowhere else."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import SpecError
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.pipe.split import HERE, split


def drawn():
    count = iter(range(1000))
    return lambda size: next(count).to_bytes(size, "big")


def pipe(*stages, **given):
    made = []
    for stage in stages:
        use, _, at = stage.partition("@")
        made.append(StageSpec(use=use, at=at))
    return PipeSpec(name="p", stages=tuple(made), **given)


def shown(parts):
    return [(part.machine, [stage.use for stage in part.spec.stages]) for part in parts]


def test_a_pipe_of_one_machine_is_one_part_as_it_was():
    whole = pipe("read", "compress", "write", buffers=9)

    (part,) = split(whole, drawn())

    assert part.spec == whole
    assert (part.machine, part.receives, part.sends) == (HERE, None, None)


def test_network_stages_stand_at_the_border():
    parts = split(pipe("scan", "compress", "store@vault"), drawn())

    assert shown(parts) == [
        (HERE, ["scan", "compress", "net_send"]),
        ("vault", ["net_receive", "store"]),
    ]
    assert parts[0].sends == parts[1].receives
    assert len(parts[0].sends.token) == 16
    assert len(parts[0].sends.secret) == 32


def test_data_may_come_here_just_as_well():
    parts = split(pipe("load@vault", "expand", "restore"), drawn())

    assert shown(parts) == [
        ("vault", ["load", "net_send"]),
        (HERE, ["net_receive", "expand", "restore"]),
    ]


def test_between_two_other_machines_this_one_relays():
    parts = split(pipe("load@a", "restore@b"), drawn())

    assert shown(parts) == [
        ("a", ["load", "net_send"]),
        (HERE, ["net_receive", "net_send"]),
        ("b", ["net_receive", "restore"]),
    ]
    assert parts[1].spec.stages[1].name == "net_send-2"


def test_a_pipe_wholly_elsewhere_has_no_border():
    assert shown(split(pipe("load@a", "restore@a"), drawn())) == [("a", ["load", "restore"])]


def test_each_border_has_a_token_and_a_secret_of_its_own():
    parts = split(pipe("a@x", "b", "c@y"), drawn())
    borders = [part.sends for part in parts if part.sends]

    assert len({border.token for border in borders}) == 2
    assert len({border.secret for border in borders}) == 2


def test_a_secret_is_not_shown():
    (before, _) = split(pipe("a", "b@y"), lambda size: b"S" * size)

    assert "SSSS" not in repr(before).replace(repr(before.sends.token), "")


def test_a_stage_joined_over_a_border_is_refused():
    whole = PipeSpec(
        name="p", stages=(StageSpec(use="scan"), StageSpec(use="inspect", joined=True, at="b"))
    )

    with pytest.raises(SpecError, match="inspect is joined to one on another machine"):
        split(whole, drawn())


def test_a_part_gets_the_buffers_that_its_shares_need():
    stages = (StageSpec(use="scan", share=8), StageSpec(use="store", at="vault"))
    here, there = split(PipeSpec(name="p", stages=stages, buffers=8), drawn(), window=16)

    assert (here.spec.buffers, there.spec.buffers) == (8, 16)


@given(st.lists(st.sampled_from(["", "a", "b"]), min_size=2, max_size=12))
def test_all_stages_are_kept_in_order_and_one_of_two_neighbors_is_here(machines):
    stages = tuple(StageSpec(use=f"s{n}", at=at) for n, at in enumerate(machines))
    parts = split(PipeSpec(name="p", stages=stages), drawn())
    kept = [
        (stage.use, part.machine)
        for part in parts
        for stage in part.spec.stages
        if not stage.use.startswith("net_")
    ]

    assert kept == [(stage.use, stage.at) for stage in stages]
    assert all(HERE in {a.machine, b.machine} for a, b in itertools.pairwise(parts))


def test_settings_reach_the_network_stages_alone():
    here, _ = split(pipe("scan", "store@vault"), drawn())
    spec = here.connected(lambda border: {"token": border.token.hex()})

    assert [dict(stage.settings) for stage in spec.stages] == [
        {},
        {"token": here.sends.token.hex()},
    ]
