"""When a rule's violations in the window mean more than those of the baseline: the thresholds and the test.

Counts only; the sentences that rest on it are in `sections.py` and `unknowns.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import fisher_exact

from dagster_project.facts import RuleViolations

# The time of a first violation says when trouble began only if quiet traces hardly ever violate the rule: with 1 % of
# them or more, a window of a few hundred traces holds a violation near its opening whatever happened. Fewer than 100
# baseline traces cannot tell 1 % from none.
RARE_SHARE = 0.01
LEAST_TRACES = 100
# Of all rules of an incident together, one in twenty incidents may name a rule by chance; hence shared by the rules.
SIGNIFICANCE = 0.05


def is_rare(rule: RuleViolations) -> bool:
    """Whether so few baseline traces violate the rule that the time of its first violation says something."""
    if rule.traces_baseline < LEAST_TRACES:
        return False
    return rule.violated_baseline <= RARE_SHARE * rule.traces_baseline and rule.excess > 0


def compared(rules: Sequence[RuleViolations]) -> list[RuleViolations]:
    """The rules that have traces on both sides."""
    return [rule for rule in rules if rule.traces_during and rule.traces_baseline]


def clearly_above(rules: Sequence[RuleViolations]) -> list[RuleViolations]:
    """Rules violated in a larger share of the window's traces than chance explains, the largest excess first.

    One-sided exact test of Fisher, at `SIGNIFICANCE` divided by the number of rules compared (Bonferroni).
    """
    judged = compared(rules)
    above = [rule for rule in judged if rule.excess > 0 and _p(rule) < SIGNIFICANCE / len(judged)]
    return sorted(above, key=lambda rule: (-rule.excess, rule.rule_id))


def _p(rule: RuleViolations) -> float:
    during = [rule.violated_during, rule.traces_during - rule.violated_during]
    baseline = [rule.violated_baseline, rule.traces_baseline - rule.violated_baseline]
    return float(fisher_exact(np.array([during, baseline]), alternative="greater").pvalue)
