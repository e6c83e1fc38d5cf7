"""The rule language: text of rules → typed model → SQL and dbt models. Reads and writes nothing."""

from dagster_project.rule_language.catalogue import Catalogue, load_catalogue
from dagster_project.rule_language.errors import RuleError, RuleErrors
from dagster_project.rule_language.meaning.attributes import PromotedAttribute
from dagster_project.rule_language.rule_file import Rule, read_inline, read_rule

__all__ = [
    "Catalogue",
    "PromotedAttribute",
    "Rule",
    "RuleError",
    "RuleErrors",
    "load_catalogue",
    "read_inline",
    "read_rule",
]
