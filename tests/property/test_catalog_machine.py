"""The catalog behaves as a dictionary would, whatever is done to it and whenever it is reopened."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from datamover.catalog.database import Catalog
from datamover.catalog.rows import (
    ArchiveFacts,
    ArchiveRecord,
    ArchiveState,
    ChunkRecord,
    PageKind,
    PageRecord,
)
from datamover.errors import StoreError

pytestmark = pytest.mark.slow

STORE = b"S" * 16
COUNTS = st.integers(0, 2**63 - 1)


class CatalogMachine(RuleBasedStateMachine):
    archives = Bundle("archives")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        Catalog.create(self.folder, store=STORE)
        self.catalog = Catalog.open(self.folder, store=STORE)
        self.known = {}
        self.chunks = {}
        self.pages = {}

    def teardown(self):
        self.catalog.close()
        shutil.rmtree(self.folder)

    @rule(
        target=archives,
        name=st.binary(min_size=16, max_size=16),
        created=COUNTS,
        label=st.binary(max_size=40),
        key=st.binary(max_size=40),
    )
    def begin(self, name, created, label, key):
        record = ArchiveRecord(id=name, created_ns=created, label=label, wrapped_key=key)
        try:
            self.catalog.map.begin(record)
        except StoreError:
            assert name in self.known
        else:
            assert name not in self.known
            self.known[name], self.chunks[name], self.pages[name] = record, [], []
        return name

    @rule(
        name=archives,
        gap=st.sampled_from([0, 0, 0, 1]),
        records=st.lists(st.tuples(st.sampled_from(PageKind), st.binary(max_size=50)), max_size=12),
        length=COUNTS,
    )
    def add_chunk(self, name, gap, records, length):
        number = len(self.chunks.get(name, ())) + gap
        first = 100 * number
        chunk = ChunkRecord(
            archive=name,
            number=number,
            name=f"{name.hex()}-{number}",
            first_block=first,
            blocks=100,
            length=length,
        )
        pages = [
            PageRecord(archive=name, block=first + n, kind=kind, chunk=number, record=record)
            for n, (kind, record) in enumerate(records)
        ]
        try:
            self.catalog.map.add_chunk(chunk, pages)
        except StoreError:
            assert name not in self.known or any(c.number == number for c in self.chunks[name])
        else:
            self.chunks[name].append(chunk)
            self.pages[name] += pages

    @rule(name=archives, completed=COUNTS, files=COUNTS, off=st.sampled_from([0, 0, 1]))
    def complete(self, name, completed, files, off):
        chunks = self.chunks.get(name, [])
        facts = ArchiveFacts(files=files, chunks=len(chunks) + off)
        dense = {c.number for c in chunks} == set(range(facts.chunks))
        old = self.known.get(name)
        fits = dense and old is not None and old.state is ArchiveState.INCOMPLETE
        try:
            self.catalog.map.complete(name, completed_ns=completed, facts=facts)
        except StoreError:
            assert not fits
        else:
            assert fits
            self.known[name] = replace(
                old, state=ArchiveState.COMPLETE, completed_ns=completed, facts=facts
            )

    @rule(name=archives)
    def forget(self, name):
        old = self.known.get(name)
        goes = old is not None and old.state is ArchiveState.INCOMPLETE

        assert goes == self.catalog.map.forget(name)
        if goes:
            del self.known[name], self.chunks[name], self.pages[name]

    @rule()
    def reopen(self):
        self.catalog.close()
        self.catalog = Catalog.open(self.folder, store=STORE)

    @rule(name=archives, kind=st.sampled_from([None, *PageKind]))
    def look_inside(self, name, kind):
        expected = [p for p in self.pages.get(name, []) if kind in {None, p.kind}]

        assert sorted(expected, key=lambda p: p.block) == list(self.catalog.index.pages(name, kind))
        assert sorted(self.chunks.get(name, []), key=lambda c: c.number) == (
            self.catalog.map.chunks(name)
        )
        assert self.known.get(name) == self.catalog.map.archive(name)

    @invariant()
    def archives_agree(self):
        newest = sorted(self.known.values(), key=lambda a: (a.created_ns, a.id), reverse=True)

        assert newest == self.catalog.map.archives()


TestCatalogMachine = CatalogMachine.TestCase
TestCatalogMachine.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
