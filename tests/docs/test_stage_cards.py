"""The card at the top of a stage agrees with what the stage declares."""

import pkgutil
from importlib import import_module

import pytest

import datamover.stages

FOLDERS = {"head", "middle", "tail"}
STAGES = [
    m.name
    for m in pkgutil.walk_packages(datamover.stages.__path__, "datamover.stages.")
    if not m.ispkg and m.name.split(".")[2] in FOLDERS
]


@pytest.mark.parametrize("name", STAGES)
def test_stage_card(name):
    module = import_module(name)
    info = module.STAGE
    card = dict(
        line.split(":", 1) for line in (module.__doc__ or "").splitlines() if ":" in line[:12]
    )

    assert name.split(".")[-2:] == [info.role.value, info.name]
    assert card["Role"].split()[0].rstrip(",") == info.role.value
    # A head allocates by nature; the card of a middle stage says so.
    if info.role.value == "middle":
        assert ("allocating" in card["Role"]) == info.allocates
    assert (card["Instances"].split()[0].rstrip(";,") != "one") == info.parallel
    assert ("replaced" in card.get("Death", "")) == info.replayable
    assert ("copies" in card.get("Death", "")) == info.overwrites
    assert {"Copies", "Fails", "Source"} <= set(card)


def test_there_are_stages_of_every_role():
    assert {name.split(".")[2] for name in STAGES} == FOLDERS
