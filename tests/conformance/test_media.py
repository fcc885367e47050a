"""Every kind of medium, and every fake of one, keeps what ``Medium`` promises."""

from __future__ import annotations

import os

import pytest

from datamover.media.address import MediumAddress
from datamover.media.directory import DirectoryMedium
from datamover.media.object_access import ObjectAccess
from datamover.media.object_requests import ObjectRequests
from datamover.media.opening import open_medium
from datamover.media.tape.virtual_library import create_library
from datamover.testing.media import FailingMedium, MediumSuite
from datamover.testing.object_server import FailingWay, object_address
from datamover.testing.small_disk import small_disk
from datamover.units import KIB, MIB

pytestmark = pytest.mark.processes


class TestDirectoryMedium(MediumSuite):
    @pytest.fixture
    def address(self, tmp_path):
        return f"file://{tmp_path}"

    @pytest.fixture
    def small(self, tmp_path):
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small file system to fill")
        with small_disk(tmp_path / "small", "2m") as place:
            yield f"file://{place}"


class TestFailingMediumThatDoesNot(MediumSuite):
    # It opens by address, and would meet the folder once more.
    test_a_full_medium_says_so_and_keeps_what_was_whole = None

    @pytest.fixture
    def address(self, tmp_path):
        return f"file://{tmp_path}"

    @pytest.fixture
    def medium(self, tmp_path):
        with DirectoryMedium(tmp_path) as inner:
            yield FailingMedium(inner, ".")


class TestObjectMedium(MediumSuite):
    @pytest.fixture
    def address(self, objects, request):
        return objects.address(prefix(request), part="5MiB", grace="0")

    @pytest.fixture
    def small(self, objects, request):
        with FailingWay(objects.endpoint, room=3 * MIB) as way:
            yield object_address(way.endpoint, prefix(request), part="5MiB", grace="0")

    def test_cleaning_spares_a_living_writer(self, objects, request):
        address = objects.address(prefix(request), part="5MiB")
        with open_medium(address) as medium:
            writer = medium.create("00-0000000a.dmc")
            for _ in range(8):
                writer.write([b"x" * MIB])
            access = ObjectAccess.of(MediumAddress.parse(address))
            if any(one.age_s > 3600 for one in ObjectRequests(access).uploads(access.prefix)):
                writer.abandon()
                pytest.skip("this server does not know when an upload was begun")

            assert medium.clean() == []
            writer.commit()
            assert list(medium.names()) == ["00-0000000a.dmc"]


@pytest.mark.parametrize("fixed", [False, True], ids=["variable", "fixed"])
class TestTapeMedium(MediumSuite):
    @pytest.fixture
    def address(self, tmp_path, fixed):
        create_library(
            tmp_path / "robot", cartridges=4, capacity=7 * MIB, block=64 * KIB, fixed=fixed
        )
        return f"vtape://{tmp_path}/robot?buffer=1MiB&high=512KiB&low=128KiB"

    @pytest.fixture
    def small(self, tmp_path, fixed):
        create_library(
            tmp_path / "small", cartridges=2, capacity=2 * MIB, block=64 * KIB, fixed=fixed
        )
        return f"vtape://{tmp_path}/small?buffer=1MiB&high=512KiB&low=128KiB"


def prefix(request):
    """A place in the bucket that no other test has."""
    return f"tests/{abs(hash(request.node.nodeid)):x}"
