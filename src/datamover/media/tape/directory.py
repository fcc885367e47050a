"""What is on all cartridges that can be had, as one directory of chunks.

Source: docs/spec/media-format.md, "Tapes"; ADR 0027.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from datamover.errors import VolumeMissingError
from datamover.media.label import Owner
from datamover.media.tape.volume import Contents, Part

if TYPE_CHECKING:
    from datamover.ids import StoreId

__all__ = ["TapeDirectory"]


@dataclass(slots=True)
class TapeDirectory:
    """Chunks and their parts.

    Attributes:
        where: The medium, for messages.
        owner: Whose volumes count; None: everybody's.
        volumes: Contents of each labelled cartridge.
        blank: Cartridges that can be labelled, in order.
    """

    where: str
    owner: Owner | None
    volumes: list[Contents] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    _parts: dict[bytes, dict[int, Part]] = field(default_factory=dict)
    _dropped: set[bytes] = field(default_factory=set)
    _whole: dict[str, bytes] = field(default_factory=dict)

    def add(self, contents: Contents) -> None:
        """Take up a cartridge."""
        if contents.is_blank:
            self.blank.append(contents.cartridge)
            return
        label = contents.label
        if label is None or (self.owner is not None and label.store != self.owner.store):
            return
        self.volumes.append(contents)
        for part in contents.parts:
            self._parts.setdefault(part.opening.writing, {})[part.opening.part] = part
        self._dropped.update(contents.dropped)

    def of(self, store: StoreId) -> list[Contents]:
        """Return the volumes of one store, in order.

        Two may have one number, when the first of them was off line as the other was labelled.
        """
        labelled = [
            (found.label.volume, found.label.created_ns, at)
            for at, found in enumerate(self.volumes)
            if found.label is not None and found.label.store == store
        ]
        return [self.volumes[at] for _, _, at in sorted(labelled)]

    def settle(self) -> None:
        """Find out which chunks are whole, once all cartridges are taken up."""
        self._whole = {}
        for writing, parts in self._parts.items():
            if writing not in self._dropped and _is_whole(parts):
                self._whole[parts[0].opening.name] = writing

    def names(self) -> list[str]:
        """Return the names of whole chunks, sorted."""
        return sorted(self._whole)

    def writing(self, name: str) -> bytes | None:
        """Return which writing a whole chunk is of; None when it is not here."""
        return self._whole.get(name)

    def parts(self, name: str) -> list[Part]:
        """Return the parts of a whole chunk, in order; none when it is not here.

        Raises:
            VolumeMissingError: A part of it is here, and another is not; or it may lie on a volume
                that is not here.
        """
        writing = self._whole.get(name)
        if writing is not None:
            parts = self._parts[writing]
            return [parts[number] for number in sorted(parts)]
        for writing, parts in self._parts.items():
            some = next(iter(parts.values()))
            if some.opening.name == name and writing not in self._dropped:
                self._miss(name, parts)
        for store in {found.label.store for found in self.volumes if found.label}:
            numbers = {found.label.volume for found in self.of(store) if found.label}
            absent = set(range(max(numbers))) - numbers
            if absent:
                raise VolumeMissingError(store=self.where, chunk=name, volume=min(absent))
        return []

    def enter(self, part: Part) -> None:
        """Take up a part that was just written; the chunk is not whole before ``settle_one``."""
        self._parts.setdefault(part.opening.writing, {})[part.opening.part] = part

    def settle_one(self, name: str, writing: bytes) -> None:
        """Take up a chunk whose last part was just written."""
        self._whole[name] = writing

    def drop(self, name: str, writing: bytes) -> None:
        """Forget a writing."""
        self._dropped.add(writing)
        if self._whole.get(name) == writing:
            del self._whole[name]

    def _miss(self, name: str, parts: dict[int, Part]) -> None:
        """Say which volume holds the first part that is not here, if one can."""
        number = next(n for n in range(len(parts) + 1) if n not in parts)
        beside = parts.get(number - 1) or parts.get(number + 1)
        if beside is None or (number and not beside.closing.goes_on):
            return
        step = 1 if number - 1 in parts else -1
        labels = [found.label for found in self.volumes if found.label is not None]
        here = {(label.store, label.volume) for label in labels}
        for found in self.volumes:
            if found.cartridge == beside.cartridge and found.label is not None:
                volume = found.label.volume + step
                # It is here, and the part is not on it: its writer died before it came so far.
                if (found.label.store, volume) not in here:
                    raise VolumeMissingError(store=self.where, chunk=name, volume=volume)


def _is_whole(parts: dict[int, Part]) -> bool:
    """Whether these are all parts of a chunk, each where the one before ends."""
    offset = 0
    for number in range(len(parts)):
        part = parts.get(number)
        if part is None or part.opening.offset != offset:
            return False
        offset += part.closing.length
        if part.closing.goes_on != (number < len(parts) - 1):
            return False
    return bool(parts)
