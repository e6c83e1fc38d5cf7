"""The models that count, rule by rule, the items that lack a key and so are in no group.

A night counts again only in the traces that it touches, and among the logs of its days that have no trace. What a
verdict is, `models` says.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from dagster_project.rule_language.catalogue import Catalogue
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
from dagster_project.rule_language.sql.entity import ALIASES, trace_id
from dagster_project.rule_language.sql.nodes import aliased, cast, column, every_of, is_null, one_of, text, union_all
from dagster_project.rule_language.sql.query import to_sql, unkeyed_query
from dagster_project.rule_language.sql.source import Source
from dagster_project.rule_language.text.syntax import Entity

UNKEYED = "rule_unkeyed_items"

_TYPES = {"rule_id": "VARCHAR", "meaning_hash": "VARCHAR", "trace_id": "UUID", "day": "DATE", "items": "BIGINT"}


def unkeyed_items(catalogue: Catalogue) -> str:
    """Incremental: a row a rule and trace, or a rule and day of logs without a trace, with how many items lack a key."""
    rules = [rule for rule in catalogue.judged if rule.judgement.group_by]
    whole = judged_list(filter(_is_counted_whole, rules))
    head = (
        "{{\n    config(\n        materialized='incremental',\n        incremental_strategy='append',\n"
        "        on_schema_change='fail',\n"
        f"        pre_hook=\"{{{{ begin_counting('{UNKEYED}', {judged_list(rules)}, {whole}) }}}}\",\n"
        f"        post_hook=\"{{{{ note_judged('{UNKEYED}', {judged_list(rules)}) }}}}\"\n    )\n}}}}\n"
        f"-- {NOTE}\n"
        f"{{%- set judged_before = rules_judged_before('{UNKEYED}', {whole}) %}}\n\n"
    )
    counted = [_counted(rule, number) for number, rule in enumerate(rules)]
    return head + to_sql(union_all([nothing(_TYPES), *counted])) + "\n"


def rule_null_keys() -> str:
    """A row a rule that groups."""
    return f"""{{{{ config(materialized='table') }}}}
-- {NOTE}

with rules as (
    select * from {{{{ ref('rule_catalogue') }}}}
),

unkeyed as (
    select * from {{{{ ref('{UNKEYED}') }}}}
)

select
    rules.rule_id,
    cast(coalesce(sum(unkeyed.items), 0) as bigint) as null_keys
from rules
left join unkeyed on rules.rule_id = unkeyed.rule_id and rules.meaning_hash = unkeyed.meaning_hash
where len(rules.group_by) > 0 and rules.status <> 'retired'
group by rules.rule_id
"""


def _is_counted_whole(rule: Rule) -> bool:
    """Whether what the rule looks at may depend on what is near, in other traces."""
    return is_judged_whole(rule) or looks_beyond(rule)


def _counted(rule: Rule, number: int) -> exp.Select:
    read = None if _is_counted_whole(rule) else _to_be_counted(rule)
    items = exp.Subquery(this=unkeyed_query(rule, Source(table=reference, read=read)), alias=alias(number))
    where = [column(name, f"rule_{number}") for name in ("trace_id", "day")]
    return (
        exp.Select(
            expressions=[
                aliased(text(rule.id), "rule_id"),
                aliased(text(rule.meaning_hash), "meaning_hash"),
                *where,
                aliased(cast(exp.Count(this=exp.Star()), "BIGINT"), "items"),
            ]
        )
        .from_(items, copy=False)
        .group_by(*(one.copy() for one in where), copy=False)
    )


def _to_be_counted(rule: Rule) -> Callable[[Entity], exp.Expression]:
    """A condition that dbt fills in: `true` for a rule that is new, else that the item arrived or its trace is touched."""

    def condition(entity: Entity) -> exp.Expression:
        touched = to_be_judged(rule, trace_id(entity), ["trace_id"])
        if entity != "log":
            return touched
        arrived = exp.Var(this=f'{{{{ in_replay_window(\'"{ALIASES[entity]}"."occurred_on"\') }}}}')
        return one_of([touched, every_of([is_null(trace_id(entity)), arrived])])

    return condition
