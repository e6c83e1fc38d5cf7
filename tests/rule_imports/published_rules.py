"""The published rules that the tests keep, run through the importer, and the tables of docs/imports.md.

`python tests/rule_imports/published_rules.py` prints the tables; a test holds that the page has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dagster_project.cli.imports import proven
from dagster_project.rule_imports.imported import Decisions, Dialect, Imported, TestTrace
from dagster_project.rule_imports.importing import import_rules

HERE = Path(__file__).parent / "published"
DECISIONS = Decisions(owner="somebody", severity="low")
WHITEPAPER = """// Payment retry must reuse payment_intent_id
trace.has(payment.charge).where(attempt > 1)
  and trace.count(payment.charge).where(payment_intent_id == unique) == 1
"""


@dataclass(frozen=True)
class Published:
    """A published rule and what the importer made of it; `has_trace` where a violating one is printed beside it."""

    dialect: Dialect
    group: str
    name: str
    imported: Imported
    has_trace: bool = False

    @property
    def tests(self) -> tuple[TestTrace, ...]:
        """The test traces that hold in the engine."""
        return () if self.imported.draft is None else _holding(self.dialect, self.group, self.name)

    @property
    def fires(self) -> bool | None:
        """Whether the rule fires on the violating trace that is printed beside it."""
        if self.imported.draft is None or not self.has_trace:
            return None
        return any(test.printed for test in self.tests)

    @property
    def outcome(self) -> str:
        if self.imported.draft is not None:
            return "translated"
        return "not parsed" if self.imported.refused[0].text.startswith("no ") else "refused"


@cache
def all_published() -> tuple[Published, ...]:
    """Every published rule, in the order of the files."""
    return (*whitepaper(), *betrace(), *traceql(), *sigma(), *eql())


@cache
def _holding(dialect: Dialect, group: str, name: str) -> tuple[TestTrace, ...]:
    # The engine is asked once for each rule, whoever wants to know.
    (one,) = (one for one in all_published() if (one.dialect, one.group, one.name) == (dialect, group, name))
    assert one.imported.draft is not None
    return proven(one.imported.draft, DECISIONS)[0]


def whitepaper() -> Iterator[Published]:
    decisions = Decisions(
        owner="somebody", severity="low", polarity="assert", group_by=("order_id",), gap_ns=86_400 * 10**9
    )
    (imported,) = import_rules(WHITEPAPER, "payment-idempotency.betrace", decisions, "betrace")
    yield Published("betrace", "the whitepaper", "payment-idempotency", imported)


def betrace() -> Iterator[Published]:
    for group, rules in _stored("betrace.yml")["groups"].items():
        written = [_betrace_rule(rule) for rule in rules]
        text = yaml.safe_dump({"rules": written}, sort_keys=False, allow_unicode=True)
        for rule, imported in zip(rules, import_rules(text, group, DECISIONS, "betrace"), strict=True):
            yield Published("betrace", group, rule["published"], imported, has_trace=True)


def _betrace_rule(rule: dict[str, Any]) -> dict[str, Any]:
    spans = [{"span": one} if isinstance(one, str) else _span(one) for one in rule["violating"]]
    return {
        "id": rule["published"],
        "name": rule["published"],
        "severity": "high",
        "condition": rule["condition"],
        "example_violation": {"trace": spans},
    }


def _span(one: dict[str, Any]) -> dict[str, Any]:
    ((name, attributes),) = one.items()
    return {"span": name, "attributes": attributes}


def traceql() -> Iterator[Published]:
    for name, text in _stored("traceql.yml")["queries"]:
        (imported,) = import_rules(text, "query.traceql", DECISIONS, "traceql")
        yield Published("traceql", "Construct a TraceQL query", name, imported)


def eql() -> Iterator[Published]:
    for name, text in _stored("eql.yml")["queries"]:
        (imported,) = import_rules(text, "query.eql", DECISIONS, "eql")
        yield Published("eql", "sequences", name, imported)


def sigma() -> Iterator[Published]:
    stored = _stored("sigma.yml")
    for name, text in stored["correlations"]:
        parts = [stored["base"], stored["chain"]] if "many" in text else [stored["base"]]
        file = "---\n".join([f"title: {name}\n{text}\n", *parts])
        imported = import_rules(file, "rules.yml", DECISIONS, "sigma")
        yield Published("sigma", "correlations", name, imported[0])


def _stored(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


def tables() -> str:
    """The counts and the list of what was refused, as the page has them."""
    found = all_published()
    lines = ["| Published by | Rules | Not parsed | Translated | Refused |", "|---|--:|--:|--:|--:|"]
    titles = {
        ("betrace", "the whitepaper"): "BeTrace, the whitepaper",
        ("traceql", "Construct a TraceQL query"): "Grafana Tempo, *Construct a TraceQL query*",
        ("sigma", "correlations"): "Sigma, correlations of its specification",
        ("eql", "sequences"): "Elastic, EQL sequences",
    }
    for place in dict.fromkeys((one.dialect, one.group) for one in found):
        of_place = [one for one in found if (one.dialect, one.group) == place]
        counts = [sum(one.outcome == word for one in of_place) for word in ("not parsed", "translated", "refused")]
        title = titles.get(place, f"BeTrace, `{place[1]}`")
        lines.append(f"| {title} | {len(of_place)} | {' | '.join(map(str, counts))} |")
    lines += ["", "Of those, not translated:", "", "| Rule | Reason |", "|---|---|"]
    for one in found:
        if one.imported.draft is None:
            reason = one.imported.refused[0].text.replace("|", "\\|")
            lines.append(f"| {one.dialect}: {one.name} | {reason} |")
    silent = [one.name for one in found if one.fires is False]
    fired = sum(one.fires is True for one in found)
    lines += [
        "",
        f"Of the {fired + len(silent)} translated BeTrace rules with a printed violating trace, {fired} fire on it.",
    ]
    lines.append(
        "The others are imported as they are written, with a note: " + ", ".join(f"`{name}`" for name in silent) + "."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tables())  # noqa: T201
