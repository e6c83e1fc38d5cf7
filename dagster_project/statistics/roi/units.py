"""Which unit an input of an estimate is computed in: a year, an hour, a minute, an incident, a user. Nothing converts.

The inputs are `plan.py`.
"""

from __future__ import annotations

import re

_PER = r"(?: ?/ ?| per | a | an )"
_MONEY = (
    # Of what kind of input, what it is divided by, and how that is written.
    (r"hourly_cost$", "hour", r"h|hrs?|hours?"),
    (r"_per_user_minute$", "user/minute", r"(?=.*user)(?=.*min)[a-z /-]+"),
    (r"_per_minute$", "minute", r"min|minutes?"),
    (r"avoided_(?:downtime|incidents)\.cost_", "incident", r"incidents?|cases?|tickets?"),
    (r"yearly_\w+$", "year", r"years?|annum|yr"),
)
_COUNTED = (
    (r"audit_hours\.hours_saved$", "hours", r"h|hours?", r"audits?"),
    (r"labour\.hours_\w+$", "hours", r"h|hours?", r"incidents?|cases?|tickets?"),
    (r"minutes_saved$", "minutes", r"min|minutes?", r"incidents?|cases?|tickets?|outages?"),
    (r"^incidents_per_year$", "incidents/year", r"incidents?|cases?|tickets?", r"years?|annum|yr"),
    (r"audits_per_year$", "audits/year", r"audits?", r"years?|annum|yr"),
)


def problem_of(name: str, unit: str, currency: str, *, is_once: bool = False) -> str | None:
    """Why an input cannot be in this unit, and which it has to be in; None when it can.

    What is divided by may be left out, for the name of the input says it: `USD` for `hourly_cost` is an hour's.

    Parameters
    ----------
    name
        Dotted name of the input.
    currency
        Of the estimate.
    is_once
        Of an amount: paid once, so that it is of no time.
    """
    if name.endswith(".amount"):
        expected, allowed = (currency, None) if is_once else (f"{currency}/year", r"years?|annum|yr")
        return _unless(unit, currency, allowed, name, expected)
    for pattern, per, allowed in _MONEY:
        if re.search(pattern, name):
            return _unless(unit, currency, allowed, name, f"{currency}/{per}")
    for pattern, expected, counted, allowed in _COUNTED:
        if re.search(pattern, name):
            return _unless(unit, counted, allowed, name, expected)
    return None


def _unless(unit: str, counted: str, per: str | None, name: str, expected: str) -> str | None:
    divided = "" if per is None else f"(?:{_PER}(?:{per}))?"
    if re.fullmatch(f"(?:{counted}){divided}", unit.strip(), re.IGNORECASE):
        return None
    return f"{name} is computed in {expected}: convert it (found {unit!r})"
