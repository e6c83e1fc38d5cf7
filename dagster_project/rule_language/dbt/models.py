"""A catalogue → the text of the dbt models and macros that judge it: one model a plan group, not one a rule.

Pure functions from a catalogue to {path in the dbt project: text}. Writing the files is `transformation`'s business.
"""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sqlglot import exp

from dagster_project import __version__
from dagster_project.rule_language.dbt import null_keys, reach
from dagster_project.rule_language.catalogue import Catalogue
from dagster_project.rule_language.sql.entity import ALIASES, started_at
from dagster_project.rule_language.meaning.model import ALWAYS_TRUE, Scope
from dagster_project.rule_language.dbt.reach import is_judged_whole, looks_beyond
from dagster_project.rule_language.dbt.templated import (
    NOTE,
    alias,
    judged_as,
    judged_list,
    nothing,
    reference,
    to_be_judged,
)
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.scan import TABLES, Scan, Source
from dagster_project.rule_language.sql.query import RESULT_TYPES, to_sql, verdicts_query
from dagster_project.rule_language.sql.nodes import (
    aliased,
    call,
    cast,
    column,
    in_query,
    one_of,
    text,
    union_all,
    without_collector,
)
from dagster_project.rule_language.text.syntax import Entity

MODELS = "models/violations/generated"
MACROS = "macros/generated"
TRACE_GROUP = "verdicts__trace"
NEARBY_TRACE_GROUP = "verdicts__nearby_trace"
READ_DAYS = "read_days"
"""The same with the days of which hours are read: those that are judged again, and what their baselines need."""

_CATALOGUE_TYPES = {
    "rule_id": "VARCHAR",
    "title": "VARCHAR",
    "description": "VARCHAR",
    "severity": "VARCHAR",
    "status": "VARCHAR",
    "owner": "VARCHAR",
    "domain": "VARCHAR",
    "controls": "VARCHAR[]",
    "meaning_hash": "VARCHAR",
    "group_by": "VARCHAR[]",
    "scope_kind": "VARCHAR",
    "gap_ns": "BIGINT",
    "is_unconditional": "BOOLEAN",
    "totalled": "VARCHAR[]",
    "file": "VARCHAR",
    "file_sha256": "VARCHAR",
    "file_bytes": "BIGINT",
    "expression": "VARCHAR",
}


def generate(catalogue: Catalogue) -> dict[str, str]:
    """Every generated file of the dbt project.

    Returns
    -------
    dict
        Path relative to the dbt project, with forward slashes → text. Equal catalogues give equal texts.
    """
    with without_collector():
        return _files(catalogue)


def _files(catalogue: Catalogue) -> dict[str, str]:
    groups = plan_groups(catalogue)
    files = {
        f"{MODELS}/rule_catalogue.sql": _rule_catalogue(catalogue),
        f"{MODELS}/{null_keys.UNKEYED}.sql": null_keys.unkeyed_items(catalogue),
        f"{MODELS}/rule_null_keys.sql": null_keys.rule_null_keys(),
        f"{MODELS}/_generated__models.yml": _descriptions(groups),
        f"{MACROS}/plan_groups.sql": _plan_groups_macro(groups),
        f"{MACROS}/promoted_attributes.sql": _promoted_macro(catalogue),
        f"{MACROS}/judged_scopes.sql": f"{{# {NOTE} #}}\n{_judged_scopes_macros()}",
        f"{MACROS}/code_version.sql": f"{{# {NOTE} #}}\n{_code_version_macro()}",
    }
    for name, rules in groups.items():
        files[f"{MODELS}/{name}.sql"] = _model(name, rules)
        files[f"{MACROS}/touched_by__{name}.sql"] = _touched_macro(name, rules)
    return dict(sorted(files.items()))


def plan_groups(catalogue: Catalogue) -> dict[str, list[Rule]]:
    """The name of each generated model and the rules it judges; the trace pack is always there, even empty."""
    groups: dict[str, list[Rule]] = {TRACE_GROUP: []}
    for rule in catalogue.judged:
        judgement = rule.judgement
        name = group_name(judgement.group_by, judgement.scope, beyond=looks_beyond(rule))
        groups.setdefault(name, []).append(rule)
    return dict(sorted(groups.items()))


def group_name(group_by: tuple[str, ...], scope: Scope = Scope.GROUP, *, beyond: bool = False) -> str:
    """`verdicts__trace`, or `verdicts__by_<key>` and the like; keys that are no plain words get a hash: no two meet.

    Rules that look `beyond` their scope are judged in more scopes than others of the same keys, so they are apart.
    """
    if scope is Scope.TRACE or (scope is Scope.GROUP and not group_by):
        return NEARBY_TRACE_GROUP if beyond else TRACE_GROUP
    head = {Scope.GROUP: "by", Scope.LIFTED: "lifted_by", Scope.HOUR: "hourly_by"}[scope]
    head = f"verdicts__nearby_{head}" if beyond and scope is not Scope.HOUR else f"verdicts__{head}"
    joined = "__".join(group_by)
    plain = re.sub(r"[^a-z0-9_]", "_", joined.lower())
    if plain != joined or any("__" in key for key in group_by):
        plain += "_" + hashlib.sha256(json.dumps(group_by).encode()).hexdigest()[:8]
    return f"{head}_{plain}"


def _reach_of(name: str, rules: list[Rule]) -> reach.Reach | None:
    """How far the rules of a plan group look; None for those that what arrives touches in its own scope alone."""
    if name == TRACE_GROUP or not rules:
        return None
    is_hourly = rules[0].judgement.scope is Scope.HOUR
    return reach.of(rules) if is_hourly or looks_beyond(rules[0]) else None


def _model(name: str, rules: list[Rule]) -> str:
    """Incremental: touched scopes and rules whose meaning is new are judged, everything else stays."""
    judged = judged_list(rules)
    whole = judged_list(rule for rule in rules if is_judged_whole(rule))
    found = _reach_of(name, rules)
    reached = f", {found.as_jinja}" if found else ""
    head = (
        "{{\n    config(\n        materialized='incremental',\n        incremental_strategy='append',\n"
        "        on_schema_change='fail',\n"
        f"        pre_hook=\"{{{{ begin_judging('{name}', touched_by__{name}(), {judged}, {whole}{reached}) }}}}\",\n"
        f"        post_hook=\"{{{{ end_judging('{name}', {judged}{reached}) }}}}\"\n    )\n}}}}\n"
        f"-- {NOTE}\n"
        f"{{%- set judged_before = rules_judged_before('{name}', {whole}) %}}\n"
        "{%- set taken_out = rules_taken_out() %}\n\n"
    )
    return head + _model_text(rules)


def _query(rule: Rule) -> exp.Select:
    """The verdicts of a rule in the scopes that are to be judged again."""
    scope = rule.judgement.scope
    if is_judged_whole(rule):
        return verdicts_query(rule, Source(table=reference))
    if scope is Scope.HOUR:
        return verdicts_query(rule, Source(table=reference, read=_read_days(rule)))
    if scope is Scope.TRACE:
        return verdicts_query(rule, Source(table=reference, touched=_touched(rule)))
    return verdicts_query(rule, Source(table=reference, touched_keys=_touched_keys(rule)))


def _model_text(rules: list[Rule]) -> str:
    """Each rule is a query of its own, anchored where it is rare, under its name; dbt leaves out those taken out."""
    parts = [to_sql(nothing(RESULT_TYPES))]
    for number, rule in enumerate(rules):
        source = exp.Subquery(this=_query(rule), alias=alias(number))
        columns = [column(name, f"rule_{number}") for name in RESULT_TYPES]
        chosen = exp.Select(expressions=columns).from_(source, copy=False)
        if rule.judgement.scope is Scope.HOUR and not is_judged_whole(rule):
            # Hours before those that are judged again are read for baselines alone.
            day = exp.Var(this=f'{{{{ day_of_hour(\'"rule_{number}"."scope_key"\') }}}}')
            chosen = chosen.where(to_be_judged(rule, day, ["day"]), copy=False)
        judged = to_sql(chosen)
        parts.append(f"{{%- if '{judged_as(rule)}' not in taken_out %}}\nUNION ALL\n{judged}\n{{%- endif %}}")
    return "\n".join(parts) + "\n"


def _touched(rule: Rule) -> Callable[[exp.Expression], exp.Expression]:
    """A condition that dbt fills in: `true` for a rule that is new, else that the trace is touched."""

    def condition(trace_id: exp.Expression) -> exp.Expression:
        return to_be_judged(rule, trace_id, ["trace_id"])

    return condition


def _touched_keys(rule: Rule) -> Callable[[Sequence[exp.Expression]], exp.Expression]:
    """The same for the key of a group."""

    def condition(values: Sequence[exp.Expression]) -> exp.Expression:
        what = values[0] if len(values) == 1 else exp.Tuple(expressions=list(values))
        return to_be_judged(rule, what, [f"k{number}" for number in range(len(values))])

    return condition


def _read_days(rule: Rule) -> Callable[[Entity], exp.Expression]:
    """The same for the day of an item: also those that only baselines need."""

    def condition(entity: Entity) -> exp.Expression:
        days = {"span": column("started_on", ALIASES["span"]), "log": column("occurred_on", ALIASES["log"])}
        day: exp.Expression | None = days.get(entity)
        if day is None:
            microseconds = exp.IntDiv(this=call("epoch_ns", started_at(entity)), expression=exp.Literal.number(1000))
            day = cast(call("make_timestamp", exp.Paren(this=microseconds)), "DATE")
        return to_be_judged(rule, day, ["day"], READ_DAYS)

    return condition


def _touched_macro(name: str, rules: list[Rule]) -> str:
    """The macro that says, as SQL, which scopes of a plan group the window touches."""
    if name == TRACE_GROUP or not rules:
        query = "{{ touched_traces() }}"
    elif name == NEARBY_TRACE_GROUP:
        query = "select trace_id from temp.main.touched_widely"
    elif rules[0].judgement.scope is Scope.HOUR:
        query = "select day from temp.main.touched_days"
    else:
        query = _touched_keys_query(rules, beyond=_reach_of(name, rules) is not None)
    return f"{{# {NOTE} #}}\n{{% macro touched_by__{name}() %}}\n{query}\n{{% endmacro %}}\n"


def _touched_keys_query(rules: list[Rule], *, beyond: bool) -> str:
    """The keys of all items of touched traces, and of logs in the window: what arrived can change no group without one.

    All items, not only those that a rule looks at: a trace that became whole, or is so no more, carries the key, too.
    """
    if all(map(is_judged_whole, rules)):
        return to_sql(nothing({"scope_key": "VARCHAR"}))
    # The rules of a plan group share their keys, so one of them says for all where an entity carries them.
    rows: dict[Entity, exp.Select] = {}
    for rule in rules:
        scan = Scan(rule, Source(table=reference))
        for entity in ["span", *scan.made.entities] if scan.can_lose else scan.made.entities:
            if entity not in rows:
                rows[entity] = scan.key_rows(entity, _arrived(entity, beyond=beyond))
    keys = [f"k{number}" for number in range(len(rules[0].judgement.group_by))]
    names = [column(name, "keys") for name in keys]
    together = exp.Subquery(this=union_all(list(rows.values())), alias=exp.TableAlias(this=exp.to_identifier("keys")))
    found = exp.Select(expressions=[*names, aliased(_scope_key(names), "scope_key")]).from_(together, copy=False)
    traces = "select trace_id from temp.main.touched_widely" if beyond else "{{ touched_traces() }}"
    return f"WITH touched_traces AS (\n    {traces}\n)\n\n" + to_sql(found.distinct(copy=False))


def _scope_key(names: list[exp.Column]) -> exp.Expression:
    """As a verdict names its group: the JSON text of the key, or of the list of keys."""
    if len(names) == 1:
        return names[0].copy()
    return call("concat", text("["), call("concat_ws", text(","), *(name.copy() for name in names)), text("]"))


def _arrived(entity: Entity, *, beyond: bool) -> exp.Expression:
    alias = ALIASES[entity]
    chosen = exp.Select(expressions=[column("trace_id")]).from_(exp.table_("touched_traces"), copy=False)
    of_touched_trace = in_query(column("trace_id", alias), chosen)
    if entity != "log":
        return of_touched_trace
    if beyond:
        near = exp.Select(expressions=[column("day")]).from_(exp.table_("near_days", db="main", catalog="temp"))
        return one_of([of_touched_trace, in_query(column("occurred_on", alias), near)])
    return one_of([of_touched_trace, exp.Var(this=f'{{{{ in_replay_window(\'"{alias}"."occurred_on"\') }}}}')])


def _rule_catalogue(catalogue: Catalogue) -> str:
    selects = [_catalogue_row(rule) for rule in catalogue.rules] or [nothing(_CATALOGUE_TYPES)]
    head = f"{{{{ config(materialized='table') }}}}\n-- {NOTE}\n\n"
    return head + to_sql(union_all(selects)) + "\n"


def _catalogue_row(rule: Rule) -> exp.Select:
    values: dict[str, str | tuple[str, ...]] = {
        "rule_id": rule.id,
        "title": rule.title,
        "description": rule.description,
        "severity": rule.severity,
        "status": rule.status,
        "owner": rule.owner,
        "domain": rule.domain,
        "controls": rule.controls,
        "meaning_hash": rule.meaning_hash,
        "group_by": rule.judgement.group_by,
        "scope_kind": rule.scope_kind,
        "gap_ns": str(rule.judgement.gap_ns),
        "is_unconditional": "true" if rule.judgement.when == ALWAYS_TRUE else "false",
        # Of the reported values, those that may be added up over violations.
        "totalled": tuple(one.name for one in rule.judgement.report if one.function in {"sum", "count"}),
        "file": rule.path,
        "file_sha256": hashlib.sha256(rule.content).hexdigest(),
        "file_bytes": str(len(rule.content)),
        "expression": _expression(rule),
    }
    return exp.Select(
        expressions=[aliased(cast(_literal(value), _CATALOGUE_TYPES[name]), name) for name, value in values.items()]
    )


def _expression(rule: Rule) -> str:
    """What the rule says, as its file says it: `when: ...` and so on, further lines indented."""
    parts = ((name, textwrap.indent(said, "  ")) for name, said in rule.expressions.items())
    return "\n".join(f"{name}:\n{said}" if name == "let" else f"{name}: {said.strip()}" for name, said in parts)


def _literal(value: str | tuple[str, ...]) -> exp.Expression:
    return exp.Array(expressions=[text(part) for part in value]) if isinstance(value, tuple) else text(value)


def _plan_groups_macro(groups: Iterable[str]) -> str:
    names = ", ".join(f"'{name}'" for name in groups)
    return f"{{# {NOTE} #}}\n{{% macro plan_groups() %}}{{{{ return([{names}]) }}}}{{% endmacro %}}\n"


def _judged_scopes_macros() -> str:
    """The macros that no rule changes; a file of their own, because they are written in dbt's language."""
    return Path(__file__).with_name("judged_traces.jinja").read_text(encoding="utf-8")


def _code_version_macro() -> str:
    return f"{{% macro code_version() %}}{{{{ return('{__version__}') }}}}{{% endmacro %}}\n"


def _promoted_macro(catalogue: Catalogue) -> str:
    """A list per entity of {"column", "path", "type"}, as JSON in which no name can look like a template."""
    listed: dict[str, list[dict[str, str]]] = {"span": [], "log": []}
    for one in catalogue.promoted_attributes():
        listed[one.entity].append({"column": one.column, "path": one.path, "type": one.type})
    # Escaping the braces of names keeps them out of Jinja's sight; they are the same JSON strings.
    body = json.dumps(listed, indent=4)
    body = re.sub(
        r'"(?:\\.|[^"\\])*"', lambda found: found.group().replace("{", "\\u007b").replace("}", "\\u007d"), body
    )
    body = re.sub(r'"(?:\\.|[^"\\])*"', lambda found: found.group().replace("%", "\\u0025"), body)
    head = f"{{# {NOTE} #}}\n{{% macro promoted_attributes(entity) %}}\n"
    return f"{head}{{{{ return(fromjson('{_jinja_text(body)}')[entity]) }}}}\n{{% endmacro %}}\n"


def _jinja_text(body: str) -> str:
    """A text between single quotes of Jinja, whose escapes are Python's."""
    return body.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")


def _descriptions(groups: dict[str, list[Rule]]) -> str:
    """What the models are, for dbt's documentation and Dagster's asset graph."""
    lines = ["version: 2", "", f"# {NOTE}", "models:"]
    lines += [
        "  - name: rule_catalogue",
        "    description: One row a rule, retired ones included, as the rule files say.",
        f"  - name: {null_keys.UNKEYED}",
        "    description: Items that a rule looks at and that lack the key it groups by; a row a rule and trace.",
        "  - name: rule_null_keys",
        "    description: How many items that a rule looks at lack the key that it groups by.",
    ]
    for name, rules in groups.items():
        keys = rules[0].judgement.group_by if rules else ()
        scope = f"groups of spans by {', '.join(keys)}" if keys else "traces"
        count = f"{len(rules)} rule{'' if len(rules) == 1 else 's'}"
        lines.append(f"  - name: {name}")
        lines.append(
            f"    description: {json.dumps(f'Verdicts of {count} over {scope}; a row a rule and scope it applies to.')}"
        )
        lines.append("    columns:")
        for column_name, meaning in _COLUMN_MEANINGS.items():
            lines.append(f"      - name: {column_name}")
            lines.append(f"        description: {json.dumps(meaning)}")
    return "\n".join(lines) + "\n"


_COLUMN_MEANINGS = {
    "rule_id": "The rule.",
    "meaning_hash": "What the rule meant when this was judged.",
    "scope_kind": "trace, group or hour.",
    "scope_key": "The trace id, or the JSON text of the group's key.",
    "trace_ids": "The traces of the scope.",
    "verdict": "violated, satisfied or inconclusive; scopes the rule does not apply to have no row.",
    "reason": "The clause that is broken, or what was lost.",
    "first_span_at": "Start of the first item that the rule looks at; of the trace when there is none.",
    "last_span_at": "Start of the last item that the rule looks at; end of the trace when there is none.",
    "started_on": "UTC day on which the scope starts.",
    "service_names": "Services of the items that the rule looks at; empty for satisfied scopes.",
    "service_versions": "Their versions.",
    "witness": "The spans that show the violation, canonical.",
    "reported": "The values that the rule reports.",
    "violation_id": "Hash of rule, meaning, scope key and first span.",
}
