"""A draft → the text of a rule file, written so that nothing imported can become a key or another type.

Which tests it gets is the caller's decision; whether they hold is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import yaml

from dagster_project.rule_imports.imported import Decisions, Draft, TestTrace
from dagster_project.rule_language.expression_text import duration

TESTS_TO_WRITE: Final = "# To be written: `tests`, at least one trace that violates the rule and one that satisfies it."
_PLAIN_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_NOT_KEYS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


class _Key(str):
    """A key that reads as itself without quotes."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Every text is quoted or a block; there are no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)  # lists stand in from their key


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text and text.isprintable() is False and _is_block(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_block(text: str) -> bool:
    return all(line.isprintable() and line == line.rstrip() for line in text.split("\n"))


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Key, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text)))


def rule_text(draft: Draft, decisions: Decisions, tests: Iterable[TestTrace] = ()) -> str:
    """The YAML of a rule. Without tests it ends in a line that says which are missing.

    Parameters
    ----------
    draft
        The rule.
    decisions
        Owner and severity come before those of the source.
    tests
        The test traces to write.
    """
    assumed = "\n".join(f"- {note.text}" for note in draft.assumed)
    description = "\n\n".join(
        part for part in (draft.description, f"Imported. Taken for granted:\n{assumed}" if assumed else "") if part
    )
    fields: dict[str, Any] = {
        "id": draft.id,
        "title": draft.title,
        "description": description,
        "severity": decisions.severity or draft.severity or "medium",
        "status": "shadow",
        "owner": decisions.owner or "nobody yet",
        "controls": list(draft.controls),
        "references": list(draft.references),
        "group_by": list(draft.group_by),
        "gap": duration(draft.gap_ns) if draft.group_by else "",
        **draft.expressions,
        "tests": [_test(test) for test in tests],
    }
    shown = {key: value for key, value in fields.items() if value not in ("", [])}
    text = yaml.dump(_keyed(shown), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9)
    return text if shown.get("tests") else f"{text}{TESTS_TO_WRITE}\n"


def _test(test: TestTrace) -> dict[str, Any]:
    kinds = {"spans": test.spans, "logs": test.logs}
    return {"name": test.name, "verdict": test.verdict, **{kind: list(items) for kind, items in kinds.items() if items}}


def _keyed(value: Any) -> Any:
    """The same with keys that stay plain where YAML reads them as themselves, and numbers that YAML knows."""
    if isinstance(value, Mapping):
        return {_key(str(key)): _keyed(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_keyed(inner) for inner in value]
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return _visible(value) if isinstance(value, str) else value


def _key(key: str) -> str:
    return _Key(key) if _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_KEYS else _visible(key)


def _visible(text: str) -> str:
    """Without what YAML cannot hold or what hides: NULs and halves of surrogate pairs become a question mark."""
    return "".join(
        "?" if character == "\x00" or 0xD800 <= ord(character) <= 0xDFFF else character for character in text
    )
