"""Values that a source declares as personal are replaced by a keyed hash before they are stored, set-wise, in SQL.

The same value under the same key gives the same hash: records can still be told apart and joined. Which names are
personal, the source says; free text is not searched.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import duckdb

KEY_VARIABLE = "HINDCAST_PERSONAL_DATA_KEY"
LEAST_KEY_LENGTH = 16
WITHHELD = "withheld: the source has personal data"
_OBJECTS = (
    "attributes",
    "sent",
    "fields",
    "hindcast_fields",
)  # objects inside of objects in which a name counts as if it stood outside


class PersonalDataKeyMissing(RuntimeError):
    """A source declares personal data and there is no key to hash it with."""


class PersonalDataNotHidden(ValueError):
    """A source declares a value as personal that Hindcast keeps as something that no hash can stand for."""


def checked_key(environment: Mapping[str, str] = os.environ) -> str:
    """The key of the hashes.

    Raises
    ------
    PersonalDataKeyMissing
        It is not set, or too short to keep anybody from trying all values.
    """
    key = environment.get(KEY_VARIABLE, "")
    if len(key) < LEAST_KEY_LENGTH:
        state = "is not set" if not key else f"has {len(key)} characters"
        raise PersonalDataKeyMissing(
            f"the source declares personal_data, and {KEY_VARIABLE} {state}: set it to {LEAST_KEY_LENGTH} characters "
            "or more, and keep it, for another key gives other hashes"
        )
    return key


class PersonalData:
    """What hides the values of some names in the rows of one file.

    Parameters
    ----------
    connection
        Holds key and names as variables: neither is ever part of a statement.
    names
        Of attributes, labels or fields; one with dots names a nested field, too.
    filled
        From columns and stored keys to the names in the file that they are filled from.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        names: Sequence[str],
        key: str,
        filled: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self._connection = connection
        self._filled = filled
        names = everywhere(names, filled)
        self._paths = [_paths(name) for name in names]
        self._hidden: dict[tuple[str, str], str] = {}
        self._set("key", key)
        for number, (name, paths) in enumerate(zip(names, self._paths, strict=True)):
            spelled = re.escape(json.dumps(name, ensure_ascii=False))
            self._set(f"{number}_any", rf"{spelled}\s*:")
            self._set(f"{number}_safe", rf'{spelled}\s*:\s*(?:"keyed:|null)')
            self._set(f"{number}_scalar", rf'({spelled}\s*:\s*)(?:"(?:[^"\\]|\\.)*"|[^",\[\]{{}}\s]+)')
            # Text without it holds the name nowhere; one that JSON may spell with escapes is always looked for.
            self._set(f"{number}_hint", name.rpartition(".")[2] if json.dumps(name) == f'"{name}"' else "")
            for place, path in enumerate(paths):
                self._set(f"{number}_{place}", "".join("/" + _pointed(part) for part in path))
                for depth, part in enumerate(path):
                    self._set(f"{number}_{place}_{depth}", part)
        self._names = list(names)

    def select(self, table: str, select: str) -> str:
        """The query with the values hidden; the Arrow tables that it reads must be there."""
        known = self._hidden.get((table, select))
        if known is None:
            known = self._hidden[table, select] = self._wrapped(table, select)
        return known

    def _set(self, name: str, value: str) -> None:
        self._connection.execute(f"set variable hindcast_personal_{name} = ?", [value])  # a name of this module's own

    def _wrapped(self, table: str, select: str) -> str:
        kinds = dict(
            self._connection.execute(
                "select column_name, data_type from duckdb_columns() where schema_name || '.' || table_name = ?",
                [table],
            ).fetchall()
        )
        sent = [row[0] for row in self._connection.execute(f"describe ({select})").fetchall()]
        structured = [name for name in sent if kinds.get(name) == "JSON"]
        texts = [name for name in sent if kinds.get(name) == "VARCHAR"]
        for name in self._names:
            if name in self._filled and name in sent and name not in (*structured, *texts):
                raise _not_hidden(name, kinds.get(name, "value"))
        for number, paths in enumerate(self._paths):
            hidden = {name: _in_json(name, number, paths) for name in structured}
            if "body" in texts:
                # A structured body is kept as the text of its JSON.
                is_json = "regexp_matches(body, '^\\s*[\\[{]') and json_valid(body)"
                hidden["body"] = f"case when {is_json} then ({_in_json('body', number, paths)})::varchar else body end"
            if self._names[number] in texts:
                column = _quoted(self._names[number])
                hidden[column.strip('"')] = _keyed(f"{column}::varchar")
            if hidden:
                replaced = ", ".join(f"{expression} as {_quoted(name)}" for name, expression in hidden.items())
                select = f"select * replace ({replaced}) from ({select})"  # noqa: S608  names of the catalogue's columns
        return select


def everywhere(names: Sequence[str], filled: Mapping[str, Sequence[str]]) -> list[str]:
    """The names, and all those under which a format stores values of these names; each before what follows from it.

    Raises
    ------
    PersonalDataNotHidden
        One of them is a time.
    """
    hidden = dict.fromkeys(names)
    for ours in names:
        theirs = filled.get(ours, ())
        # What a path ends in is named elsewhere, too.
        hidden.update(dict.fromkeys(name for name in theirs if not any(other.endswith(f".{name}") for other in theirs)))
    for _ in filled:
        for ours, theirs in filled.items():
            if any(_is_part(name, their) for name in hidden for their in theirs):
                hidden.setdefault(ours)
    for name in hidden:
        if name in filled and name.endswith("_at"):
            raise _not_hidden(name, "time")
    return list(hidden)


def _is_part(name: str, path: str) -> bool:
    """Whether what a path leads to is hidden with a name, or has what the name leads to in it."""
    outer, _, inner = name.partition(".")
    name, path = f"{inner if outer in _OBJECTS and inner else name}.".casefold(), f"{path}.".casefold()
    return path.startswith(name) or name.startswith(path)


def _not_hidden(name: str, kind: str) -> PersonalDataNotHidden:
    return PersonalDataNotHidden(
        f"personal_data of the source names what fills {name}, a {kind.lower()}, which no hash can stand for: "
        "take the name from personal_data, or the field out of the file before it is loaded"
    )


def reading(names: Sequence[str], described: str | None) -> str | None:
    """How a file is read, with the names that are hidden: a changed list makes it another load."""
    if not names:
        return described
    said = json.loads(described) if described else {}
    return json.dumps(said | {"personal_data": sorted(names)}, sort_keys=True, ensure_ascii=False)


def _paths(name: str) -> list[tuple[str, ...]]:
    """Where a name may stand in an object: as it is, nested by its dots, or in an object that holds the fields."""
    spelled = [(name,)] + ([tuple(name.split("."))] if "." in name.strip(".") else [])
    return [*spelled, *((outer, *path) for outer in _OBJECTS for path in spelled)]


def _pointed(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _variable(name: str) -> str:
    return f"getvariable('hindcast_personal_{name}')"


def _keyed(value: str) -> str:
    """A hash of a hash: the length of a value cannot be played with."""
    key = _variable("key")
    return f"case when {value} is not null then 'keyed:' || left(sha256({key} || sha256({key} || {value})), 32) end"


def _in_json(column: str, number: int, paths: Sequence[tuple[str, ...]]) -> str:
    """A JSON column with the values of one name hidden: in an object, or in each object of an array."""
    json_column = f"{_quoted(column)}::json"
    inside = _in_object("e", number, paths)
    whole = f"""
        case json_type({json_column})
            when 'OBJECT' then list_transform([{json_column}], lambda e: {inside})[1]
            when 'ARRAY' then to_json(list_transform(json_extract({json_column}, '$[*]'), lambda e: {inside}))
            else {json_column}
        end
    """
    return _without_leftovers(whole, number, json_column)


def _in_object(value: str, number: int, paths: Sequence[tuple[str, ...]]) -> str:
    """One place after the other, each given the object that the one before it gave."""
    for place, path in enumerate(paths):
        given = f"o{place}"
        found = f"json_extract_string({given}, {_variable(f'{number}_{place}')})"
        patch = _keyed(found)
        for depth in reversed(range(len(path))):
            patch = f"json_object({_variable(f'{number}_{place}_{depth}')}, {patch})"
        changed = f"case when {found} is not null then json_merge_patch({given}, {patch}) else {given} end"
        value = f"list_transform([{value}], lambda {given}: {changed})[1]"
    return value


def _without_leftovers(hidden: str, number: int, before: str) -> str:
    """What stands deeper than is looked, or twice, is blanked; and where that fails, the whole of the column."""
    every, safe = _variable(f"{number}_any"), _variable(f"{number}_safe")

    def is_left(text: str) -> str:
        return f"len(regexp_extract_all({text}, {every})) > len(regexp_extract_all({text}, {safe}))"

    blanked = f"regexp_replace(t, {_variable(f'{number}_scalar')}, '\\1\"keyed:withheld\"', 'g')"
    careful = (
        f"""list_transform([({hidden})::varchar], lambda t: case when {is_left("t")} then {blanked} else t end)[1]"""
    )
    nothing = f"if(json_type({before}) = 'ARRAY', '[]', '{{\"hindcast\":\"{WITHHELD}\"}}')"
    checked = f"list_transform([{careful}], lambda u: case when {is_left('u')} then {nothing} else u end)[1]::json"
    has_it = f"contains(({before})::varchar, {_variable(f'{number}_hint')})"
    return f"case when {has_it} then {checked} else {before} end"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
