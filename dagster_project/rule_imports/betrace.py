"""BeTrace's rules as drafts: its YAML files of rules, and plain texts of either dialect.

The reading of the expressions is `rule_language.betrace`'s; here is what stands around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.rule_imports.example_traces import traces_for
from dagster_project.rule_imports.imported import Decisions, Draft, Imported, Note, TestTrace
from dagster_project.rule_imports.source_text import Document, documents, line_of, slug
from dagster_project.rule_language.errors import ExpressionError, RuleErrors
from dagster_project.rule_language.text.yaml_text import Node
from dagster_project.rule_language.writing.betrace import (
    Block,
    looks_like_betrace,
    read_blocks,
    read_condition,
    translate,
)
from dagster_project.rule_language.writing.expression_text import Joined, ScopeCondition, deny, scope_text

_SEVERITIES = {"critical": "critical", "high": "high", "medium": "medium", "low": "low"}


def recognises(text: str) -> bool:
    """Whether the text is BeTrace: the whitepaper's words, or a `when {` block."""
    return looks_like_betrace(text) or re.search(r"(?<!\w)when\s*\{", text) is not None


def read(text: str, decisions: Decisions, name: str) -> Iterator[Imported]:
    """Every rule of the text; a rule that is refused does not keep the others back."""
    if re.search(r"^rules:\s*$", text, re.MULTILINE):
        yield from _rules_file(text, decisions)
    elif re.search(r"(?<!\w)when\s*\{", text):
        yield from _blocks(text, decisions, name)
    else:
        yield _expression(text, decisions, name)


def _expression(text: str, decisions: Decisions, name: str) -> Imported:
    """A text in the whitepaper's syntax: one condition, of which it does not say whether it is good or bad."""
    identity = slug(name)
    if not decisions.polarity:
        message = "the text does not say whether what it describes must hold or is bad"
        return Imported(identity, 1, refused=(Note(1, f"{message}; give --polarity assert or --polarity detect"),))
    try:
        translated = translate(text, decisions.polarity)
    except ExpressionError as error:
        return Imported(identity, 1, refused=(_note(text, error, 1),))
    written = {"when": translated.when, "always": translated.always, "never": translated.never}
    conditions, _ = read_condition(text)
    when, bad = _split(conditions, decisions.polarity)
    draft = Draft(
        id=identity,
        title=_comment(text) or identity,
        line=1,
        expressions={key: value for key, value in written.items() if value},
        group_by=decisions.group_by,
        gap_ns=decisions.gap_ns,
        assumed=tuple(Note(1, said) for said in translated.assumed),
        tests=traces_for(bad, when, decisions.group_by),
    )
    return Imported(identity, 1, draft)


def _split(condition: ScopeCondition, polarity: str) -> tuple[ScopeCondition | None, ScopeCondition]:
    """The conditions again, as the traces of tests need them: any part may be what the others depend on."""
    parts = condition.parts if isinstance(condition, Joined) and condition.word == "and" else (condition,)
    if polarity == "detect" or len(parts) == 1:
        return None, condition if polarity == "detect" else deny(condition)
    return parts[0], deny(parts[1] if len(parts) == 2 else Joined("and", parts[1:]))


def _blocks(text: str, decisions: Decisions, name: str) -> Iterator[Imported]:
    """A text of blocks, cut before each `when` that opens one, so that a bad rule leaves the others."""
    starts = [found.start() for found in re.finditer(r"(?<![\w.])when(?=\s*\{)", _without_comments(text))]
    ends = [*starts[1:], len(text)]
    for at, (start, end) in enumerate(zip(starts, ends, strict=True)):
        identity = slug(name) if len(starts) == 1 else f"{slug(name)}-{at + 1}"
        title = _comment(text[(ends[at - 1] if at == 0 else starts[at - 1]) if at else 0 : start]) or identity
        line = line_of(text, start)
        yield _block(text[start:end], line, {"id": identity, "title": title}, decisions, ())


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|#[^\n]*", lambda found: " " * len(found.group()), text)


def _block(
    text: str, line: int, about: Mapping[str, Any], decisions: Decisions, printed: tuple[TestTrace, ...]
) -> Imported:
    identity = str(about["id"])
    try:
        blocks = read_blocks(text, is_bad_alone=decisions.polarity == "detect")
        if not blocks:
            raise ExpressionError("there is no rule in the text: no `when {`", 0)
        if len(blocks) > 1:
            raise ExpressionError("two rules where one is expected", blocks[1].start)
    except ExpressionError as error:
        return Imported(identity, line, refused=(_note(text, error, line),))
    return Imported(identity, line, _draft(blocks[0], line, about, decisions, printed))


def _draft(
    block: Block, line: int, about: Mapping[str, Any], decisions: Decisions, printed: tuple[TestTrace, ...]
) -> Draft:
    parts = {"when": block.when, "always": block.always, "never" if block.when else "detect": block.never}
    bad = [deny(block.always)] if block.always is not None else []
    bad += [block.never] if block.never is not None else []
    whole = bad[0] if len(bad) == 1 else Joined("or", tuple(bad))
    return Draft(
        id=str(about["id"]),
        title=str(about["title"]),
        line=line,
        expressions={key: scope_text(part) for key, part in parts.items() if part is not None},
        description=str(about.get("description", "")),
        severity=_SEVERITIES.get(str(about.get("severity", "")).lower(), ""),
        controls=tuple(about.get("controls", ())),
        group_by=decisions.group_by,
        gap_ns=decisions.gap_ns,
        assumed=tuple(Note(line, said) for said in block.assumed),
        tests=(*printed, *traces_for(whole, block.when, decisions.group_by)),
    )


# --- files of rules ---


def _rules_file(text: str, decisions: Decisions) -> Iterator[Imported]:
    try:
        found = documents(text)
    except RuleErrors as error:
        first = error.errors[0]
        yield Imported("the file", first.line, refused=(Note(first.line, first.message),))
        return
    at = 0
    for document in found:
        rules = document.field(document.root, "rules")
        for rule in rules.value if rules is not None and isinstance(rules.value, list) else ():
            yield _rule(document, rule, at, decisions)
            at += 1


def _rule(document: Document, rule: Node, at: int, decisions: Decisions) -> Imported:
    about: dict[str, Any] = {
        "id": slug(document.text_of(rule, "id") or f"rule-{at + 1}"),
        "title": document.text_of(rule, "name") or document.text_of(rule, "id"),
        "description": document.text_of(rule, "description").strip(),
        "severity": document.text_of(rule, "severity"),
        "controls": document.texts_of(rule, "compliance_frameworks"),
    }
    condition = document.field(rule, "condition")
    if condition is None or not isinstance(condition.value, str):
        note = Note(rule.line, "the rule has no `condition`")
        return Imported(about["id"], rule.line, refused=(note,))
    return _block(condition.value, condition.line, about, decisions, _printed(document, rule))


def _printed(document: Document, rule: Node) -> tuple[TestTrace, ...]:
    """The trace that the file prints as one that violates the rule."""
    example = document.field(rule, "example_violation")
    trace = document.field(example, "trace") if example is not None else None
    if trace is None or not isinstance(trace.value, list):
        return ()
    spans = []
    for node in trace.value:
        name, attributes = document.text_of(node, "span"), document.field(node, "attributes")
        if not name:
            return ()
        plain = document.plain(attributes) if attributes is not None else {}
        spans.append({"name": name, **({"attributes": plain} if isinstance(plain, dict) and plain else {})})
    return (TestTrace("the violating trace that the source prints", "violated", tuple(spans), printed=True),)


def _note(text: str, error: ExpressionError, line: int) -> Note:
    hint = f" ({error.hint})" if error.hint else ""
    if error.message.startswith("`when` alone"):
        hint = " (--polarity detect reads it as bad by itself)"
    return Note(line + line_of(text, error.start) - 1, f"{error.message}{hint}")


def _comment(text: str) -> str:
    """The last line of comment, as a title."""
    found = re.findall(r"^\s*(?://|#)\s*(\S[^\n]*)$", text, re.MULTILINE)
    return found[-1].strip()[:200] if found else ""
