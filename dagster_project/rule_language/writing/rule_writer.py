"""Fields of a rule → the YAML of its file, written so that nothing from outside can become a key or another type.

Which fields a rule has is its caller's business; whether they are a rule, `rule_file`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import yaml

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
    style = "|" if "\n" in text and _is_block(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_block(text: str) -> bool:
    return all(line.isprintable() and line == line.rstrip() for line in text.split("\n"))


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Key, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text)))


def rule_yaml(fields: Mapping[str, Any]) -> str:
    """The text of a rule file: fields in their order, with texts, numbers, truths, lists and mappings below them.

    Every text is quoted: what is plain in YAML is a number to one reader and a text to another, as `1e5` is.
    """
    return yaml.dump(
        _keyed(fields), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9, default_flow_style=False
    )


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
