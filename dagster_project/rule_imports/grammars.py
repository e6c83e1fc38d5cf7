"""Grammars of other languages and parsing with lark: size and depth limits, and errors as refusals with a line."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from dagster_project.rule_imports.imported import Refusal
from dagster_project.rule_imports.source_text import line_of
from dagster_project.rule_language.limits import MAX_DEPTH, MAX_FILE_BYTES


@lru_cache(maxsize=3)
def lark(language: str, start: str, *, placeholders: bool = True) -> Lark:
    """The parser of the language's grammar beside this file; built once.

    Parameters
    ----------
    placeholders
        Whether an optional part in brackets that is absent stands in the tree as None.
    """
    grammar = Path(__file__).with_name(f"{language}.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start=start, propagate_positions=True, maybe_placeholders=placeholders)


def parsed(grammar: Lark, text: str, language: str, first_line: int, start: str | None = None) -> Tree[Token]:
    """The parse tree of a text.

    Raises
    ------
    Refusal
        For a text that is too long, too deep or no text of the language.
    """
    if len(text) > MAX_FILE_BYTES:
        raise Refusal(f"{len(text)} characters; one rule has at most {MAX_FILE_BYTES}", first_line)
    try:
        tree = grammar.parse(text, start=start)
    except UnexpectedInput as error:
        at_end = getattr(getattr(error, "token", None), "type", "") == "$END"
        at = len(text) if at_end else error.pos_in_stream or 0
        word = re.match(r"\w+|\S", text[at:])
        found = f"`{word.group()}`" if word else "the end"
        raise Refusal(f"no {language}: did not expect {found} here", first_line + line_of(text, at) - 1) from None
    # Whatever reads the tree recurses; the nesting is measured without recursion.
    stack = [(tree, 1)]
    while stack:
        branch, level = stack.pop()
        if level > MAX_DEPTH:
            raise Refusal(f"nested deeper than {MAX_DEPTH}", first_line + line_of(text, place(branch)[0]) - 1)
        stack.extend((child, level + 1) for child in branch.children if isinstance(child, Tree))
    return tree


def place(node: Any) -> tuple[int, int]:
    """Where a node begins and ends."""
    if isinstance(node, Token):
        return node.start_pos or 0, node.end_pos or 0
    return (0, 1) if node.meta.empty else (node.meta.start_pos, node.meta.end_pos)
