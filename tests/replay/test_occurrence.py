import pytest

from dagster_project.replay import occurrence, scratch, tables
from dagster_project.replay.window import Window
from dagster_project.rule_language import load_catalogue, read_inline

DATA = """
id: x
title: x
severity: low
owner: x
detect: any(span())
tests:
  - name: data
    verdict: violated
    spans:
      - name: payment.charge
        service: shop
        trace: t1
        attributes: {order_id: 1, attempt: 2}
        resource: {host.name: h}
      - {name: look, service: shop, trace: t2, at: 1s}
    logs: [{body: x, attributes: {user: ann}}]
  - {name: b, verdict: satisfied, spans: [{name: a}]}
"""


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    scratch.fill(made, load_catalogue({"rules/x/x.yml": DATA}).rules[0].examples[0])
    yield made
    made.close()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("never: any(span(attempt > 1))", []),
        # Almost a field: an attribute all the same, for what is sent is anybody's.
        (
            "never: any(span(statsu > 1))",
            ["none of the 2 spans of the window has an attribute `statsu`; did you mean the field `status`?"],
        ),
        (
            "never: any(span(statsu = error))",
            ["none of the 2 spans of the window has an attribute `statsu`; did you mean the field `status`?"],
        ),
        (
            "never: any(span(statsu = errand))",
            [
                "none of the 2 spans of the window has an attribute `errand`; known here: attempt, order_id",
                "none of the 2 spans of the window has an attribute `statsu`; did you mean the field `status`?",
            ],
        ),
        (
            "never: any(log(sevrity > 1))",
            ["none of the 1 log records of the window has an attribute `sevrity`; did you mean the field `severity`?"],
        ),
        (
            "never: any(span(attempt > 1) near metric(valeu > 1) within 1s on anything)",
            [
                "`valeu` is read as an attribute of metrics, and no test of the rule has one;"
                " did you mean the field `value`?"
            ],
        ),
        (
            "never: any(span(atempt > 1))",
            ["none of the 2 spans of the window has an attribute `atempt`; did you mean `attempt`?"],
        ),
        (
            "group_by: orderid gap: 1h never: any(span(attempt > 1))",
            ["none of the 2 spans of the window has an attribute `orderid`; did you mean `order_id`?"],
        ),
        (
            'never: any(span(resource."hostname" == "h"))',
            ["none of the 2 spans of the window has a resource attribute `hostname`; did you mean `host.name`?"],
        ),
        (
            "never: any(log(usr == 1))",
            ["none of the 1 log records of the window has an attribute `usr`; did you mean `user`?"],
        ),
        (
            'never: any(span("payment.chrge"))',
            ["no span of the window is called `payment.chrge`; did you mean `payment.charge`?"],
        ),
        ('never: any(span("payment.*"))', []),
        ('never: any(span("paymint.*"))', ["no span of the window is called anything like `paymint.*`"]),
        ('never: any(span("pay[a-m]ent.*"))', ["no span of the window is called anything like `pay[a-m]ent.*`"]),
        (
            'never: any(span(service = "shopp"))',
            ["no span of the window is of the service `shopp`; did you mean `shop`?"],
        ),
    ],
)
def test_what_does_not_occur_is_said_with_the_nearest_name(connection, rule, said):
    assert occurrence.complaints(connection, read_inline(rule), Window(), 2) == said


def test_of_many_spans_those_that_the_rule_names_are_looked_at(connection, monkeypatch):
    monkeypatch.setattr(tables, "WHOLE", 1)
    monkeypatch.setattr(tables, "SAMPLED_SPANS", 0)
    rule = read_inline('never: any(span("payment.charge", attempt > 1))')
    assert occurrence.complaints(connection, rule, Window(), 2) == []
    (said,) = occurrence.complaints(connection, read_inline('never: any(span("look", attempt > 1))'), Window(), 2)
    assert said.startswith("none of the 1 spans of the window that were looked at has an attribute `attempt`")


def test_an_attribute_that_is_almost_a_field_and_occurs_is_one():
    made = scratch.connect()
    data = DATA.replace("attempt: 2", "kid: 2").replace(
        "logs:", "metrics: [{name: m, value: 1, attributes: {unity: 1}}]\n    logs:"
    )
    scratch.fill(made, load_catalogue({"rules/x/x.yml": data}).rules[0].examples[0])
    rule = read_inline("never: any(span(kid > 1) near metric(unity > 1) within 1s on anything)")
    assert occurrence.complaints(made, rule, Window(), 2) == []
    made.close()


def test_an_empty_window_complains_of_nothing(connection):
    assert occurrence.complaints(connection, read_inline("never: any(span(atempt > 1))"), Window(), 0) == []
    (said,) = occurrence.complaints(connection, read_inline("never: any(span(statsu > 1))"), Window(), 0)
    assert "did you mean the field `status`?" in said


def test_a_kind_or_status_that_nobody_sends_is_said_and_health_is_not():
    made = scratch.connect()
    scratch.fill(made, load_catalogue({"rules/x/x.yml": DATA}).rules[0].examples[0])
    made.execute("update staging.stg_spans set kind = 'unspecified', status_code = 'unset'")
    rule = read_inline("never: any(span(status = error, kind = server))")
    assert occurrence.complaints(made, rule, Window(), 2) == [
        "none of the 2 spans of the window has the kind `server`: all are `unspecified`",
        "none of the 2 spans of the window has the status `error`: all are `unset`",
    ]
    made.execute("update staging.stg_spans set kind = 'client', status_code = 'ok' where span_name = 'look'")
    assert occurrence.complaints(made, rule, Window(), 2) == []
    made.close()
