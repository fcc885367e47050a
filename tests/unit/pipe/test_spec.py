"""A pipe file becomes the same specification as Python makes, or the text names what is wrong."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamover.errors import SpecError
from datamover.pipe.spec import Mode, OnQuota, PipeSpec, StageSpec, load_spec, parse_size
from datamover.units import MIB

GOOD = """
name = "example"
buffers = 16
buffer_size = "64KiB"
mode = "thread"

[[stage]]
use = "datamover.testing.stages:count"
settings = { count = 7 }

[[stage]]
use = "datamover.testing.stages:gather"
name = "end"
instances = 2
share = 0
on_quota = "terminate"
mode = "process"
"""


@pytest.fixture
def load(tmp_path):
    def write_and_load(text: str | bytes) -> PipeSpec:
        path = tmp_path / "pipe.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_spec(str(path))

    return write_and_load


def test_a_good_file_says_all_that_python_can(load) -> None:
    assert load(GOOD) == PipeSpec(
        name="example",
        stages=(
            StageSpec(use="datamover.testing.stages:count", settings={"count": 7}),
            StageSpec(
                use="datamover.testing.stages:gather",
                name="end",
                instances=2,
                on_quota=OnQuota.TERMINATE,
                mode=Mode.PROCESS,
            ),
        ),
        buffers=16,
        buffer_size=65536,
        mode=Mode.THREAD,
    )


def test_what_is_not_said_has_its_default(load) -> None:
    found = load('name = "x"\n[[stage]]\nuse = "order"\n')

    assert (found.buffers, found.buffer_size, found.mode) == (0, MIB, Mode.PROCESS)
    assert found.stages[0] == StageSpec(use="order")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing required field `name`"),
        ('name = "x"', "missing required field `stage`"),
        ('name = "x"\nstage = 3', "Expected `array`, got `int` - at `$.stage`"),
        ('name = "x"\n[[stage]]\nname = "y"', "missing required field `use` - at `$.stage[0]`"),
        ('name = "x"\ncolour = 1\n[[stage]]\nuse = "y"', "unknown field `colour`"),
        ('name = "x"\n[[stage]]\nuse = "y"\ndefinition = 1', "unknown field `definition`"),
        ('name = "x"\nmode = "fibre"\n[[stage]]\nuse = "y"', "Invalid enum value 'fibre'"),
        ('name = "x"\nbuffer_size = "huge"\n[[stage]]\nuse = "y"', "no size: 'huge'"),
        ("name = ", "Invalid value"),
        (b"\xff\xfe", "can't decode byte 0xff"),
        ("a = " + "[" * 100_000, "pipe.toml"),
        ("a = " + "9" * 5000, "pipe.toml"),
        ("#" * ((1 << 20) + 1), "larger than 1048576 bytes"),
    ],
    ids=lambda given: repr(given)[:20],
)
def test_a_bad_file_is_refused_by_name(load, text, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(text)

    assert said in str(caught.value)


@pytest.mark.parametrize("path", ["/no/such/file", "/", "a\0b"])
def test_a_file_that_cannot_be_read_is_said(path: str) -> None:
    with pytest.raises(SpecError):
        load_spec(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_raises_anything_else(tmp_path, data: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(data)
    with pytest.raises(SpecError):
        load_spec(str(path))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("1MiB", 1 << 20),
        ("1 mib", 1 << 20),
        ("64KiB", 65536),
        ("64 kB", 64000),
        ("64k", 64000),
        ("1.5MiB", 3 << 19),
        ("2G", 2 * 10**9),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1e9", "1 PiB", "0x10", "9" * 5000, "1\n2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(SpecError, match="no size"):
        parse_size(text)
