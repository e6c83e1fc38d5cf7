"""Files of OTLP with spans that are said tersely, and a rule about them."""

import json

import pytest

RULE = """\
id: charge-is-approved
title: A charge is approved in the same trace
description: Nobody takes money without an approval.
severity: high
owner: payments
controls: [SOC2:CC7.2]
references: [https://example.com/runbook]
when: any(span("payment.charge"))
always: any(span("approval.granted"))
report: {currency: first(span("payment.charge").currency), charges: count(span("payment.charge"))}
tests:
  - name: nobody approved
    verdict: violated
    spans: [{name: payment.charge}]
  - name: approved
    verdict: satisfied
    spans: [{name: payment.charge}, {name: approval.granted}]
"""
BASE = 1_700_000_000 * 10**9


def value(sent):
    if isinstance(sent, bool):
        return {"boolValue": sent}
    if isinstance(sent, int):
        return {"intValue": str(sent)}
    return {"doubleValue": sent} if isinstance(sent, float) else {"stringValue": sent}


def attributes(given):
    return [{"key": key, "value": value(sent)} for key, sent in given.items()]


def span(name, trace=1, number=1, parent=None, service="shop", at_ms=0, kind=1, **given):
    sent = {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(BASE + at_ms * 10**6),
        "endTimeUnixNano": str(BASE + (at_ms + 1) * 10**6),
        "attributes": attributes(given),
    }
    if parent is not None:
        sent["parentSpanId"] = f"{parent:016x}"
    resource = {"attributes": attributes({"service.name": service})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [sent]}]}]}


@pytest.fixture
def traces(tmp_path):
    """Writes spans to a file of OTLP, a line each."""

    def write(*spans, name="traces.otlp.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(one) + "\n" for one in spans))
        return path

    return write


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """A folder of rules with one; the working directory is above it, as in a pipeline."""
    folder = tmp_path / "rules" / "payments"
    folder.mkdir(parents=True)
    (folder / "charge-is-approved.yml").write_text(RULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HINDCAST_PROJECT", raising=False)
    return folder.parent
