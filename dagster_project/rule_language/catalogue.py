"""A catalogue: the rules of a project, read together.

Reads texts, never files; whoever has the files hands them over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dagster_project.rule_language.errors import RuleError, RuleErrors
from dagster_project.rule_language.limits import MAX_RULES
from dagster_project.rule_language.meaning.attributes import PromotedAttribute, promoted
from dagster_project.rule_language.rule_file import Rule, read_rule


@dataclass(frozen=True)
class Catalogue:
    """Rules in the order of their ids."""

    rules: tuple[Rule, ...]

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    @property
    def judged(self) -> tuple[Rule, ...]:
        """The rules that are run: active and shadow ones."""
        return tuple(rule for rule in self.rules if rule.status != "retired")

    def rule(self, identity: str) -> Rule:
        """The rule of that id.

        Raises
        ------
        KeyError
            When there is none.
        """
        for rule in self.rules:
            if rule.id == identity:
                return rule
        raise KeyError(identity)

    def promoted_attributes(self) -> tuple[PromotedAttribute, ...]:
        """Every attribute that a judged rule reads, with the type it is read as, in a stable order."""
        return promoted(rule.judgement for rule in self.judged)


def load_catalogue(texts: Mapping[str, str]) -> Catalogue:
    """Read all rules of a project.

    Parameters
    ----------
    texts
        Path (`rules/<domain>/<id>.yml`, with forward slashes, as errors will show it) → text of the file.

    Raises
    ------
    RuleErrors
        One error that lists all mistakes of all files.
    """
    rules: dict[str, Rule] = {}
    errors: list[RuleError] = []
    if len(texts) > MAX_RULES:
        errors.append(RuleError(sorted(texts)[MAX_RULES], 1, 1, f"{len(texts)} rules; the limit is {MAX_RULES}"))
        raise RuleErrors(errors)
    for path in sorted(texts):
        try:
            rule = read_rule(path, texts[path])
        except RuleErrors as broken:
            errors.extend(broken.errors)
            continue
        if rule.id in rules:
            errors.append(RuleError(path, 1, 1, f"the id `{rule.id}` is taken by {rules[rule.id].path}"))
        rules[rule.id] = rule
    if errors:
        raise RuleErrors(errors)
    return Catalogue(tuple(rules[identity] for identity in sorted(rules)))
