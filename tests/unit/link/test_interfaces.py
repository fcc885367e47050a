"""A path that leaves by an interface goes to the address that is on the network behind it."""

import ipaddress

import pytest

from datamover.link.interfaces import Interface, facing, interfaces

OURS = [
    Interface("eth1", ipaddress.ip_interface("10.0.1.1/24")),
    Interface("eth2", ipaddress.ip_interface("10.0.2.1/24")),
    Interface("eth2", ipaddress.ip_interface("fd00:2::1/64")),
]


@pytest.mark.parametrize(
    ("via", "theirs", "found"),
    [
        ("eth1", ["10.0.2.2", "10.0.1.2"], "10.0.1.2"),
        ("10.0.2.1", ["10.0.1.2", "10.0.2.2"], "10.0.2.2"),
        ("eth2", ["fd00:2::9"], "fd00:2::9"),
        ("eth1", ["192.0.2.1"], None),
        ("eth9", ["10.0.1.2"], None),
        ("eth1", ["no address", "10.0.1.2"], "10.0.1.2"),
    ],
)
def test_the_address_on_the_same_network_is_taken(via, theirs, found):
    assert facing(via, OURS, theirs) == found


def test_what_this_machine_has_are_addresses_and_none_of_them_is_loopback():
    assert not any(one.address.is_loopback for one in interfaces())
