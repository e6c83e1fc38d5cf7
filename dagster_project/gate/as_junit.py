"""The answer of a gate as JUnit XML: a suite a rule, a failed case a violation."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from dagster_project.gate.findings import Judged, Sample
from dagster_project.gate.outcome import Outcome, Reviewed
from dagster_project.gate.selection import line_of
from dagster_project.gate.sentences import evidence, headline, is_failing, received, remarks, shown, total_scopes

# What XML 1.0 cannot hold, escaped or not: most control characters, halves of surrogates, two non-characters.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(outcome: Outcome) -> str:
    """One document; well-formed whatever the names of spans hold."""
    root = Element("testsuites", name="hindcast gate")
    totals: Counter[str] = Counter()
    for judged in outcome.judged:
        totals += _suite(root, outcome, judged)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(totals[name]))
    root.set("time", f"{sum(judged.seconds for judged in outcome.judged):.3f}")
    said = SubElement(root[0], "system-out") if len(root) else None
    if said is not None:
        said.text = _clean("\n".join((received(outcome), *remarks(outcome))))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, outcome: Outcome, judged: Judged) -> Counter[str]:
    rule = judged.rule
    suite = SubElement(root, "testsuite", name=rule.id)
    properties = SubElement(suite, "properties")
    findings = outcome.of(rule)
    violated = tuple(one for one in findings if one.finding.verdict == "violated")
    for name, value in {
        "title": rule.title,
        "severity": rule.severity,
        "status": rule.status,
        "owner": rule.owner,
        "violations": str(total_scopes(violated)),
        "findings": str(len(violated)),
    }.items():
        SubElement(properties, "property", name=name, value=_clean(value))
    counts: Counter[str] = Counter()
    names: Counter[str] = Counter()
    failing = tuple(one for one in findings if is_failing(one))
    for one, sample in shown(findings):
        names[one.finding.where] += 1
        again = names[one.finding.where]
        case = _case(suite, judged, one.finding.where + (f" ({again})" if again > 1 else ""))
        counts["tests"] += 1
        counts[_say(case, one, sample)] += 1
    if judged.error:
        error = SubElement(
            _case(suite, judged, rule.title), "error", message="the rule could not be judged", type="broken"
        )
        error.text = _clean(judged.error)
        counts += Counter(tests=1, errors=1)
    elif not failing:
        case = _case(suite, judged, rule.title)
        counts["tests"] += 1
        if not judged.applied:
            message = judged.unasked or "there was nothing here that the rule speaks about"
            SubElement(case, "skipped", message=message)
            counts["skipped"] += 1
    for name in ("tests", "failures", "errors", "skipped"):
        suite.set(name, str(counts[name]))
    suite.set("time", f"{judged.seconds:.3f}")
    return counts


def _case(suite: Element, judged: Judged, name: str) -> Element:
    rule = judged.rule
    return SubElement(
        suite, "testcase", classname=f"hindcast.{_clean(rule.domain)}.{rule.id}", name=_clean(name),
        file=_clean(rule.path), line=str(line_of(rule)), time="0",
    )  # fmt: skip


def _say(case: Element, one: Reviewed, sample: Sample) -> str:
    """Fill a case; which count it belongs to."""
    text = _clean("\n".join(
        part for part in (
            one.finding.rule.description, headline(one), evidence(sample), one.remark,
            f"fingerprint {one.finding.fingerprint}",
        ) if part
    ))  # fmt: skip
    if is_failing(one):
        failure = SubElement(case, "failure", message=_clean(headline(one)), type=one.finding.verdict)
        failure.text = text
        return "failures"
    SubElement(case, "skipped", message=_clean(one.remark or f"stops nothing: {headline(one)}"))
    return "skipped"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
