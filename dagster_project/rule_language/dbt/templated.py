"""Pieces of generated models that dbt fills in or that several of them share. No model is put together here."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlglot import exp

from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.nodes import aliased, cast, column, in_query, one_of
from dagster_project.rule_language.sql.scan import TABLES

NOTE = "Generated from the rules by `hindcast prepare`; changes here are lost."
TOUCHED = "touched"
"""The temporary table, of the connection that judges a plan group, with the scopes that are judged again."""


def reference(name: str, alias: str | None) -> exp.Expression:
    """`{{ ref('stg_spans') }}`: a name that dbt fills in."""
    table = exp.Table(this=exp.Var(this=f"{{{{ ref('{TABLES[name][1]}') }}}}"))
    if alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return table


def alias(number: int) -> exp.TableAlias:
    """The name of a rule's query among others."""
    return exp.TableAlias(this=exp.to_identifier(f"rule_{number}", quoted=True))


def to_be_judged(rule: Rule, what: exp.Expression, names: list[str], among: str = TOUCHED) -> exp.Expression:
    """True for a rule that is new; else that `what` is among the columns `names` of a temporary table."""
    template = f"{{{{ is_to_be_judged(judged_before, '{judged_as(rule)}') }}}}"
    touched = exp.table_(among, db="main", catalog="temp", quoted=True)
    chosen = exp.Select(expressions=[column(name) for name in names]).from_(touched, copy=False)
    return one_of([exp.Var(this=template), in_query(what, chosen)])


def judged_as(rule: Rule) -> str:
    """What a row of the table must carry to be current: ids and hashes hold no quotes."""
    return f"{rule.id}:{rule.meaning_hash}"


def judged_list(rules: Iterable[Rule]) -> str:
    """What rows of these rules must carry, as a list of dbt's language that may stand between double quotes."""
    return json.dumps([judged_as(rule) for rule in rules]).replace('"', "'")


def nothing(types: dict[str, str]) -> exp.Select:
    """A table of these columns without a row."""
    columns = [aliased(cast(exp.null(), type_), name) for name, type_ in types.items()]
    return exp.Select(expressions=columns).where(exp.false(), copy=False)
