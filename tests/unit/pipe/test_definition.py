"""A stage is found by its name, by its reference or by an entry point, or the text says why not."""

import importlib.metadata
from dataclasses import dataclass

import pytest

from datamover.errors import SpecError
from datamover.pipe.definition import find, head, middle, tail
from datamover.pipe.spec import Mode, OnQuota
from datamover.pipe.stage import FanOut, Role
from datamover.testing import stages


@dataclass(frozen=True)
class Settings:
    level: int = 1
    name: str = "x"


def test_our_own_stages_are_found_by_name() -> None:
    found = find("order")

    assert (found.info.name, found.info.role) == ("order", Role.MIDDLE)
    assert found.reference == "datamover.stages.middle.order:run"
    assert find(found.reference) == found


def test_any_decorated_function_is_found_by_reference() -> None:
    assert find("datamover.testing.stages:copy") is stages.copy


def test_stages_of_other_packages_are_found_by_entry_point(monkeypatch) -> None:
    entry = importlib.metadata.EntryPoint(
        "elsewhere", "datamover.testing.stages:gather", "datamover.stages"
    )
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **asked: [entry] if asked == {"group": entry.group, "name": entry.name} else [],
    )

    assert find("elsewhere") is stages.gather


@pytest.mark.parametrize(
    ("use", "text"),
    [
        ("nothing", "no stage is called nothing; write package.module:function for your own"),
        ("", "no stage is called "),
        ("not a name", "no stage is called not a name"),
        ("../../etc", "no stage is called"),
        ("__init__", "stage "),
        ("no.such.module:function", "No module named 'no'"),
        ("datamover.testing.stages:nothing", "has no attribute 'nothing'"),
        ("datamover.testing.stages:", "has no attribute ''"),
        ("datamover.testing.stages:digest", "it is not decorated with head, middle or tail"),
        ("os:system", "it is not decorated"),
        (":x", "Empty module name"),
        (".relative:x", "stage .relative:x"),
        ("a\0b:c", "stage a"),
        (":", "Empty module name"),
    ],
)
def test_what_is_not_there_is_said(use: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        find(use)

    assert text in str(caught.value)


def test_a_file_that_is_no_python_is_said(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_stage.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError, match="stage broken_stage:x: invalid syntax"):
        find("broken_stage:x")


def test_decorators_declare_the_role_and_its_properties() -> None:
    @head
    def first(port) -> None: ...

    @middle(allocates=True, parallel=False, fan_out=FanOut.MANY)
    def between(port, settings: Settings) -> None: ...

    @tail
    def last(port) -> None: ...

    assert [d.info.role for d in (first, between, last)] == list(Role)
    assert (first.info.allocates, first.info.parallel) == (True, True)
    assert (between.info.allocates, between.info.parallel) == (True, False)
    assert between.info.fan_out is FanOut.MANY
    assert last.info.allocates is False
    assert (first.settings, between.settings) == (None, Settings)


def test_a_definition_is_still_its_function() -> None:
    seen = []

    @tail
    def last(port) -> None:
        seen.append(port)

    last("port")

    assert seen == ["port"]


def test_settings_that_are_no_dataclass_are_refused_where_they_are_written() -> None:
    with pytest.raises(SpecError, match="annotate its second parameter with a dataclass"):

        @head
        def wrong(port, settings: dict) -> None: ...


def test_a_part_of_a_pipe_carries_its_settings() -> None:
    part = stages.copy.stage(
        name="n", instances=3, share=4, on_quota=OnQuota.TERMINATE, mode=Mode.THREAD, delay_s=0.5
    )

    assert (part.name, part.instances, part.share) == ("n", 3, 4)
    assert (part.on_quota, part.mode) == (OnQuota.TERMINATE, Mode.THREAD)
    assert part.settings == {"delay_s": 0.5}
    assert part.resolved() is stages.copy


def test_settings_are_converted_and_checked() -> None:
    @middle
    def between(port, settings: Settings) -> None: ...

    assert between.convert({"level": 3}) == Settings(level=3)
    with pytest.raises(SpecError, match="stage between: unknown setting: tempo; there are: level"):
        between.convert({"tempo": 3})
    with pytest.raises(
        SpecError, match=r"stage between: Expected `int`, got `str` - at `\$.level`"
    ):
        between.convert({"level": "high"})
