"""In a whole pipe, with several instances of each transform, every byte comes back in order."""

import random
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

import datamover
from datamover import HeadPort, Mode, PipeSpec, StageSpec, TailPort, head, tail

KEY, ARCHIVE = "7e" * 32, "a0" * 16
SIZE = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    path: str


@head(parallel=False)
def read_file(port: HeadPort, settings: PathSettings) -> None:
    with open(settings.path, "rb") as file:
        while True:
            buffer = port.alloc()
            buffer.used = file.readinto(buffer.data[: port.buffer_size])
            if not buffer.used:
                port.free(buffer)
                return
            port.send(buffer)


@tail(parallel=False)
def write_file(port: TailPort, settings: PathSettings) -> None:
    with open(settings.path, "wb") as file:
        for buffer in port.incoming():
            file.write(buffer.payload)
            port.free(buffer)


def stage(use: str, instances: int = 1, name: str = "", **settings: object) -> StageSpec:
    return StageSpec(use=use, name=name or use, instances=instances, settings=settings)


@pytest.fixture
def source(tmp_path):
    """Real programs' text, with noise in between that no compressor shrinks."""
    noise = random.Random(11)
    path = tmp_path / "source"
    library = Path(sysconfig.get_paths()["stdlib"])
    with path.open("wb") as file:
        for module in sorted(library.glob("*.py"))[:60]:
            file.write(module.read_bytes())
            file.write(noise.randbytes(20_000))
    return path


@pytest.mark.parametrize("mode", [Mode.INLINE, Mode.THREAD])
def test_compressing_sealing_and_checking_twice_is_undone(mode, source, tmp_path):
    result = tmp_path / "result"
    spec = PipeSpec(
        name="transforms",
        mode=mode,
        buffer_size=SIZE,
        buffers=64,
        stages=[
            read_file.stage(path=str(source)),
            stage("inspect", 2),
            stage("checksum"),
            stage("compress", 3),
            stage("encrypt", 2, key=KEY, archive=ARCHIVE),
            stage("compress", 2, name="again", codec="lz4"),
            stage("encrypt", name="outer", key=KEY, archive=ARCHIVE, layer=1),
            stage("decrypt", name="inner", key=KEY, archive=ARCHIVE),
            stage("expand", 2),
            stage("decrypt", 2, key=KEY, archive=ARCHIVE),
            stage("expand", 3, name="last"),
            stage("verify"),
            write_file.stage(path=str(result)),
        ],
    )
    notices = []
    datamover.run(spec, on_notice=lambda *given: notices.append(given))

    assert notices == []
    assert result.read_bytes() == source.read_bytes()


def test_with_another_key_every_block_is_reported_and_none_comes_out(source, tmp_path):
    result = tmp_path / "result"
    spec = PipeSpec(
        name="wrong key",
        mode=Mode.INLINE,
        buffer_size=SIZE,
        stages=[
            read_file.stage(path=str(source)),
            stage("encrypt", key=KEY, archive=ARCHIVE),
            stage("decrypt", 2, key="00" * 32, archive=ARCHIVE),
            write_file.stage(path=str(result)),
        ],
    )
    notices = []
    datamover.run(spec, on_notice=lambda *given: notices.append(given))

    # Distinct numbers are distinct nonces, also for blocks that no head had tagged.
    blocks = -(-source.stat().st_size // SIZE)
    assert sorted(facts["block"] for _, _, _, facts in notices) == list(range(blocks))
    assert {kind for _, _, kind, _ in notices} == {"damaged"}
    assert result.read_bytes() == b""
