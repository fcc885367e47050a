"""Read the text of a rule file; every error says in which line it is.

The text is anybody's: it may come from another machine, or be no TOML at all.

Source: docs/spec/placement.md; SPEC F4, F8.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

from datamover.errors import RuleError
from datamover.placement.lines import Lines
from datamover.placement.rule import SIZE_MAX, Conditions, Rule, Rules
from datamover.placement.value import CONDITIONS, DECISIONS, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["parse_rules"]

_RULES_MAX: Final = 256
_VERSION: Final = 1
_RULE: Final = "rule"
_DEFAULT: Final = "default"
_TOP: Final = frozenset({"version", _RULE, _DEFAULT})
_NOT_NAMES: Final = frozenset({_DEFAULT, "command", "mover"})
_AT: Final = re.compile(r"\(at line (\d+), column \d+\)")
_TO_COME: Final = {
    "media": "chunks of a store lie on its home alone",
    "copies": "chunks of a store lie on its home alone",
    "framing": "chunk files have full framing",
    "encryption": "every block of an encrypted store is sealed",
}


def parse_rules(text: str, file: str) -> Rules:
    """Return the rules that ``text`` says.

    Args:
        text: Of a rule file.
        file: What it is called in messages.

    Raises:
        RuleError: It breaks a rule of the format, or has a key that cannot be followed yet.
    """
    return _File(text, file).rules()


class _File:
    def __init__(self, text: str, file: str) -> None:
        self._file = file
        if len(text.encode("utf-8", "surrogatepass")) > SIZE_MAX:
            raise self._error(1, f"longer than {SIZE_MAX} bytes")
        try:
            self._given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._no_toml(text, str(error)) from None
        except (ValueError, RecursionError) as error:
            # Digits without end, or brackets in brackets: these have no place.
            raise self._error(1, f"no TOML: {error}") from None
        self._lines = Lines(text)

    def rules(self) -> Rules:
        for key in self._given:
            if key not in _TOP:
                raise self._unknown(self._lines.key("", 0, key), key, _TOP)
        version = self._given.get("version", _VERSION)
        if type(version) is not int or version != _VERSION:
            reason = f"version {version!r:.20}: this release reads version {_VERSION}"
            raise self._error(self._lines.key("", 0, "version"), reason)
        found = [self._rule(number, table) for number, table in enumerate(self._tables())]
        self._require_names(found)
        if _DEFAULT in self._given:
            found.append(self._default(self._given[_DEFAULT]))
        return Rules(file=self._file, rules=tuple(found))

    def _tables(self) -> list[Mapping[str, object]]:
        tables = self._given.get(_RULE, [])
        line = self._lines.table(_RULE)
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            raise self._error(line, "rule: write [[rule]]")
        if len(tables) > _RULES_MAX:
            raise self._error(self._lines.table(_RULE, _RULES_MAX), f"more than {_RULES_MAX} rules")
        return tables

    def _rule(self, number: int, table: Mapping[str, object]) -> Rule:
        known = frozenset({"name", *CONDITIONS, *DECISIONS})
        values = self._values(_RULE, number, table, known)
        line = self._lines.table(_RULE, number)
        name = values.pop("name", f"rule {number + 1}")
        when = Conditions(**{key: values[key] for key in values if key in CONDITIONS})  # type: ignore[arg-type]  # as CONDITIONS reads them
        decided = {key: values[key] for key in values if key in DECISIONS}
        if not decided:
            raise self._error(line, f"{name} decides nothing: {', '.join(sorted(DECISIONS))}")
        for key in decided:
            if DECISIONS[key].for_archive and when.names_a_file:
                raise self._error(
                    self._lines.key(_RULE, number, key),
                    f"{key} holds for a whole archive: its rule may have no condition but archive",
                )
        return Rule(name=str(name), line=line, when=when, **decided)  # type: ignore[arg-type]  # as DECISIONS reads them

    def _default(self, table: object) -> Rule:
        line = self._lines.table(_DEFAULT)
        if not isinstance(table, dict):
            raise self._error(line, "default: write [default]")
        values = self._values(_DEFAULT, 0, table, frozenset(DECISIONS))
        return Rule(name=_DEFAULT, line=line, **values)  # type: ignore[arg-type]  # as DECISIONS reads them

    def _values(
        self, of: str, number: int, table: Mapping[str, object], known: frozenset[str]
    ) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in table.items():
            line = self._lines.key(of, number, key)
            if key in _TO_COME:
                reason = f"{key} cannot be followed by this release: {_TO_COME[key]}"
                raise self._error(line, reason)
            if key not in known:
                raise self._unknown(line, key, known)
            read = CONDITIONS.get(key) or (DECISIONS[key].read if key in DECISIONS else name_of)
            try:
                found[key] = read(value)
            except ValueError as error:
                raise self._error(line, f"{key}: {error}") from None
        return found

    def _require_names(self, rules: list[Rule]) -> None:
        seen = set(_NOT_NAMES)
        for rule in rules:
            if rule.name in seen:
                raise self._error(rule.line, f"the name {rule.name!r} is taken")
            seen.add(rule.name)

    def _no_toml(self, text: str, said: str) -> RuleError:
        place = _AT.search(said)
        line = int(place[1]) if place else text.count("\n") + 1
        said = _AT.sub("", said).replace(" (at end of document)", "").strip()
        return self._error(line, f"no TOML: {said[:1].lower()}{said[1:120]}")

    def _unknown(self, line: int, key: str, known: frozenset[str]) -> RuleError:
        return self._error(line, f"unknown key {key!r:.60}; there are: {', '.join(sorted(known))}")

    def _error(self, line: int, reason: str) -> RuleError:
        return RuleError(file=self._file, line=line, reason=reason)
