"""The baseline file: violations that are known and accepted for a while, so that a gate stops what is new.

JSON, sorted, so that a change of it is read in a review. Which fingerprint a violation has, `findings.py` says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from dagster_project.gate.findings import Finding, Judged

VERSION: Final = 1
ACCEPTED_FOR: Final = timedelta(days=90)  # an acceptance that nobody looks at again is a rule switched off
UNEXPLAINED: Final = "not said: say why this is accepted"
_FIELDS: Final = {"rule", "fingerprint", "where", "reason", "owner", "expires", "at_most"}
_REQUIRED: Final = ("rule", "fingerprint", "reason", "owner", "expires")


class BaselineInvalid(ValueError):
    """The baseline file cannot be used; the message names the file and the entry."""


@dataclass(frozen=True, order=True)
class Accepted:
    """A violation that is accepted until the end of a day.

    Parameters
    ----------
    expires
        The last day on which it is accepted; None: for ever.
    at_most
        More scopes than this with the same fingerprint are no longer the known violation; None: any number is.
    """

    rule: str
    fingerprint: str
    where: str
    reason: str
    owner: str
    expires: date | None
    at_most: int | None = None

    def covers(self, finding: Finding, today: date) -> bool:
        """Whether the finding is this violation, still accepted."""
        return (
            self.fingerprint == finding.fingerprint
            and (self.expires is None or today <= self.expires)
            and (self.at_most is None or finding.scopes <= self.at_most)
        )


@dataclass(frozen=True)
class Baseline:
    """What is accepted, by fingerprint."""

    accepted: tuple[Accepted, ...] = ()

    def entry(self, finding: Finding) -> Accepted | None:
        """What the file says of a finding, expired or not."""
        return next((entry for entry in self.accepted if entry.fingerprint == finding.fingerprint), None)

    def stale(self, judged: Iterable[Judged]) -> tuple[Accepted, ...]:
        """Entries of judged rules that nothing matches: mended, or not exercised by this telemetry."""
        ran = {one.rule.id for one in judged if not one.error and not one.unasked}
        seen = {finding.fingerprint for one in judged for finding in one.findings}
        return tuple(entry for entry in self.accepted if entry.rule in ran and entry.fingerprint not in seen)


def read(path: Path) -> Baseline:
    """The baseline of a file.

    Raises
    ------
    BaselineInvalid
        It is no JSON, or an entry is not as it should be.
    OSError
        It cannot be read.
    """
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BaselineInvalid(f"{path}: no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise BaselineInvalid(f'{path}: it should begin with "version": {VERSION}')
    entries = document.get("accepted")
    if not isinstance(entries, list):
        raise BaselineInvalid(f"{path}: `accepted` should be a list")
    accepted = tuple(_accepted(path, number, entry) for number, entry in enumerate(entries, start=1))
    if doubled := _first_twice(entry.fingerprint for entry in accepted):
        raise BaselineInvalid(f"{path}: the fingerprint {doubled} stands there twice; leave one")
    return Baseline(accepted)


def updated(baseline: Baseline, findings: Sequence[Finding], today: date) -> Baseline:
    """The baseline that also accepts these findings. What is known keeps its reason, owner and date, unless it expired.

    Expired entries that nothing matches are left out; others stay, for one run does not exercise everything.
    """
    until = today + ACCEPTED_FOR
    kept = {entry.fingerprint: entry for entry in baseline.accepted if entry.expires is None or today <= entry.expires}
    for finding in findings:
        before = baseline.entry(finding)
        if before is None:
            kept[finding.fingerprint] = Accepted(
                finding.rule.id, finding.fingerprint, finding.where, UNEXPLAINED, finding.rule.owner, until
            )
        elif not before.covers(finding, today):
            at_most = None if before.at_most is None else max(before.at_most, finding.scopes)
            expires = before.expires if before.expires is None or today <= before.expires else until
            kept[finding.fingerprint] = replace(before, where=finding.where, expires=expires, at_most=at_most)
    return Baseline(tuple(kept.values()))


def write(baseline: Baseline, path: Path) -> None:
    """Write the file whole, sorted by rule and fingerprint."""
    document = {
        "version": VERSION,
        "accepted": [_plain(entry) for entry in sorted(baseline.accepted, key=lambda one: (one.rule, one.fingerprint))],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(unfinished, path)  # noqa: PTH105  # pathlib's replace is the same call


def _plain(entry: Accepted) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "rule": entry.rule,
        "fingerprint": entry.fingerprint,
        "where": entry.where,
        "reason": entry.reason,
        "owner": entry.owner,
        "expires": entry.expires.isoformat() if entry.expires else None,
    }
    return plain if entry.at_most is None else plain | {"at_most": entry.at_most}


def _accepted(path: Path, number: int, entry: object) -> Accepted:
    place = f"{path}: entry {number}"
    if not isinstance(entry, dict):
        raise BaselineInvalid(f"{place}: it should be an object")
    if missing := [name for name in _REQUIRED if name not in entry]:
        raise BaselineInvalid(f"{place}: `{missing[0]}` is missing")
    if unknown := sorted(entry.keys() - _FIELDS):
        raise BaselineInvalid(f"{place}: `{unknown[0]}` is none of {', '.join(sorted(_FIELDS))}")
    for name in ("rule", "fingerprint", "reason", "owner"):
        if not isinstance(entry[name], str) or not entry[name].strip():
            raise BaselineInvalid(f"{place}: `{name}` should be a text")
    at_most = entry.get("at_most")
    if at_most is not None and (not isinstance(at_most, int) or isinstance(at_most, bool) or at_most < 1):
        raise BaselineInvalid(f"{place}: `at_most` should be a whole number from 1")
    where = entry.get("where")
    return Accepted(
        entry["rule"], entry["fingerprint"], where if isinstance(where, str) else "", entry["reason"], entry["owner"],
        _expires(place, entry["expires"]), at_most,
    )  # fmt: skip


def _expires(place: str, value: object) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise BaselineInvalid(f"{place}: `expires` is {value!r}; write a date such as 2025-03-31, or null") from None


def _first_twice(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
