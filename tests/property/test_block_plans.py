"""Plans: every byte of every file is in exactly one block, in order, and no block is too long."""

from __future__ import annotations

from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import UsageError
from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.files.plan import BLOCK_MIN, Planner
from datamover.files.table import TABLE_RESERVE, decode_entries, write_table

SPARSE, MORE, CONTINUES = int(EntryFlag.SPARSE), int(EntryFlag.MORE), int(EntryFlag.CONTINUES)
sizes = st.one_of(st.integers(0, 3000), st.integers(0, 200_000))
limits = st.sampled_from([BLOCK_MIN, 2049, 4096, 5000, 65536, 1 << 20])


@st.composite
def files(draw):
    """A size, whether the file is sparse, and where its data is."""
    size = draw(sizes)
    if not draw(st.booleans()):
        return size, 0, ((0, size),) if size else ()
    cuts = sorted(draw(st.sets(st.integers(0, size), max_size=60)))
    return size, SPARSE, tuple((a, b - a) for a, b in zip(cuts[::2], cuts[1::2], strict=False))


def planned(limit, given_files, path_length=8):
    planner = Planner(limit)
    plans = []
    for number, (size, flags, extents) in enumerate(given_files):
        path = b"%0*d" % (path_length, number)
        entry = Entry(path, int(Kind.FILE), 0o100644, size=size, flags=flags)
        assert planner.fit(entry)
        plans += planner.add(entry, lambda _, extents=extents: extents)
    plans += planner.finish()
    return plans


def read_back(plan):
    out = memoryview(bytearray(plan.table))
    assert write_table(out, plan.records) == plan.table
    return list(decode_entries(out))


def joined(extents):
    """Put extents that touch together."""
    found = []
    for begin, length in extents:
        if found and sum(found[-1]) == begin:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((begin, length))
    return found


@given(limits, st.lists(files(), max_size=12), st.integers(8, 200))
def test_blocks_hold_every_byte_once_and_are_never_too_long(limit, given_files, path_length):
    plans = planned(limit, given_files, path_length)

    whole = {}
    for plan in plans:
        entries = read_back(plan)
        assert plan.table + plan.data <= limit
        assert plan.table <= limit - TABLE_RESERVE
        assert plan.data == sum(length for entry in entries for _, length in entry.extents)
        assert plan.continued == bool(entries[0].flags & CONTINUES)
        for entry in entries:
            whole.setdefault(entry.path, []).append(entry)
    assert len(whole) == len(given_files)
    for (_, parts), (size, flags, extents) in zip(sorted(whole.items()), given_files, strict=True):
        found = [extent for part in parts for extent in part.extents]
        assert joined(found) == joined(extents)
        assert {part.size for part in parts} == {size}
        assert [part.flags for part in parts] == [
            flags | (CONTINUES if i else 0) | (MORE if i < len(parts) - 1 else 0)
            for i in range(len(parts))
        ]
        assert [part.before for part in parts] == [
            sum(length for part in parts[:i] for _, length in part.extents)
            for i in range(len(parts))
        ]


@given(limits, st.lists(files(), max_size=12))
def test_a_file_in_parts_begins_and_ends_at_the_borders_of_blocks(limit, given_files):
    plans = planned(limit, given_files)

    for plan, after in zip_longest(plans, plans[1:]):
        entries = read_back(plan)
        assert not any(entry.flags & MORE for entry in entries[:-1])
        assert not any(entry.flags & CONTINUES for entry in entries[1:])
        if entries[-1].flags & MORE:
            assert after is not None
            assert read_back(after)[0].path == entries[-1].path


def test_small_files_share_blocks_and_are_never_cut():
    plans = planned(65536, [(500, 0, ((0, 500),))] * 1000)

    assert len(plans) == 10
    assert not any(plan.continued for plan in plans)


def test_parts_of_a_large_file_begin_on_pages():
    plans = planned(65536, [(1_000_000, 0, ((0, 1_000_000),))])

    assert len(plans) == 17
    assert all(read_back(plan)[0].extents[0][0] % 4096 == 0 for plan in plans)


def test_an_entry_that_leaves_no_room_for_data_does_not_fit():
    planner = Planner(BLOCK_MIN)

    assert planner.fit(Entry(b"p" * 900, int(Kind.FILE), 0))
    assert not planner.fit(Entry(b"p" * 1000, int(Kind.FILE), 0))
    assert not planner.fit(Entry(b"p", int(Kind.FILE), 0, xattrs=((b"user.x", b"v" * 1000),)))


def test_a_block_too_small_for_names_is_refused():
    with pytest.raises(UsageError):
        Planner(BLOCK_MIN - 1)
