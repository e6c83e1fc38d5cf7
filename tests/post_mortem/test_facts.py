"""What is gathered, for whom, and that each statement's reference leads to a row."""

from __future__ import annotations

import time

import duckdb
import pytest

from dagster_project import post_mortem
from dagster_project.facts import IncidentFacts, Reference, Stamp
from dagster_project.post_mortem.model import Document, Table, statements

STAMP = Stamp(None, None)


def facts_of(connection: duckdb.DuckDBPyConnection, incident_id: str) -> IncidentFacts:
    (found,) = post_mortem.gather(connection, [incident_id])
    return found


def document_of(connection: duckdb.DuckDBPyConnection, incident_id: str) -> Document:
    return post_mortem.build_document(facts_of(connection, incident_id), STAMP)


def said(document: Document, section: str | None = None) -> str:
    kept = [one for one in document.sections if section in (None, one.key)]
    (only,) = kept if section else (None,)
    shown = Document(**{**vars(document), "sections": tuple(kept)}) if only else document
    return "\n".join(one.text for one in statements(shown))


def test_every_reference_resolves_to_a_row(connection):
    for facts in post_mortem.gather(connection):
        document = post_mortem.build_document(facts, STAMP)
        assert document.references
        for one in document.references:
            assert post_mortem.resolve(connection, one.reference) >= 1, one


def test_what_stands_for_several_rules_leads_to_a_row_of_each(connection):
    document = document_of(connection, "INC-1")
    (section,) = [one for one in document.sections if one.key == "replay"]
    (certificates,) = [one for one in section.blocks if isinstance(one, Table) and one.caption.startswith("Certific")]
    (quiet,) = [one for one in section.blocks if "without a violation in the window" in getattr(one, "text", "")]
    leads = {one.number: post_mortem.resolve(connection, one.reference) for one in document.references}
    assert (quiet.text.split()[0], leads[quiet.references[0]]) == ("1", 1)
    assert [leads[row.references[0]] for row in certificates.rows] == [1, 2]
    assert certificates.rows[1].cells[0].text == "2 rules, the same of each"


def test_every_statement_and_line_names_references_that_the_document_lists(connection):
    for facts in post_mortem.gather(connection):
        document = post_mortem.build_document(facts, STAMP)
        known = {one.number for one in document.references}
        for statement in statements(document):
            assert statement.kind == "note" or statement.references, statement.text
            assert set(statement.references) <= known
        rows = [row for s in document.sections for b in s.blocks if isinstance(b, Table) for row in b.rows]
        assert rows
        assert all(row.references and set(row.references) <= known for row in rows)


def test_every_listed_reference_is_quoted(connection):
    document = document_of(connection, "INC-1")
    quoted = {number for statement in statements(document) for number in statement.references}
    quoted |= {
        n for s in document.sections for b in s.blocks if isinstance(b, Table) for row in b.rows for n in row.references
    }
    assert {one.number for one in document.references} == quoted


def test_a_reference_that_leads_nowhere_resolves_to_none(connection):
    gone = Reference("marts.fct_incidents", (("incident_id", "INC-1' or 'a'='a"),))
    assert post_mortem.resolve(connection, gone) == 0
    with pytest.raises(duckdb.Error):
        post_mortem.resolve(connection, Reference("marts.fct_incidents", (('"; drop table x', "1"),)))


def test_tickets_that_no_telemetry_saw_get_no_document(connection):
    ids = [facts.incident_id for facts in post_mortem.gather(connection)]
    assert ids == ["../../<INC>-4", "INC-1", "INC-2", "INC-3"]
    assert facts_of(connection, "TK0003").system == "servicenow"


def test_a_ticket_with_traces_in_its_window_gets_one(connection):
    connection.execute("update marts.fct_incidents set system = 'servicenow' where incident_id = 'INC-1'")
    assert "INC-1" in [facts.incident_id for facts in post_mortem.gather(connection)]


def test_an_incident_that_is_not_there_is_named(connection):
    with pytest.raises(post_mortem.UnknownIncident, match="INC-404"):
        post_mortem.gather(connection, ["INC-1", "INC-404"])


def test_an_incident_without_end_is_not_said_to_be_resolved(connection):
    document = document_of(connection, "INC-2")
    assert "has no end in the data" in said(document, "summary")
    assert "no time to resolve" in said(document, "unknowns")
    assert "resolved after" not in said(document)
    assert "appears in no telemetry" in said(document, "unknowns")
    assert "no baseline trace" in said(document, "unknowns")


def test_clocks_that_contradict_give_no_duration_and_are_a_conflict(connection):
    document = document_of(connection, "INC-3")
    assert "its clocks give no length" in said(document, "summary")
    assert "(resolved before created); not computed: time to resolve" in said(document, "unknowns")
    assert "resolved 1 h before it was started" in said(document, "unknowns")
    assert "No trace" in said(document, "summary")
    assert "not known in terms of P1 to P5" in said(document, "unknowns")


def test_the_timeline_begins_before_the_incident(connection):
    first = facts_of(connection, "INC-1").timeline[0]
    assert first.kind == "deploy"
    assert first.at < facts_of(connection, "INC-1").started.at


def test_the_timeline_names_the_file_of_what_it_says(connection):
    assert facts_of(connection, "INC-1").timeline[0].source == "traces.jsonl.gz, line 7, record 1"


def test_no_cause_is_named_and_hypotheses_have_both_sides(connection):
    document = document_of(connection, "INC-1")
    (section,) = [one for one in document.sections if one.key == "hypotheses"]
    claims = [block for block in section.blocks if hasattr(block, "contradicting")]
    assert [claim.heading.text for claim in claims] == ["cart", "front"]
    assert all(claim.supporting and claim.contradicting for claim in claims)
    assert "root cause" not in said(document).lower()
    assert all(one.kind in {"hypothesis", "note"} for block in claims for one in block.supporting + block.contradicting)


def test_a_rule_that_quiet_traces_violate_as_often_dates_no_onset(connection):
    update = "update marts.mart_incident_violations set traces_baseline = 200, violated_baseline = ?"
    connection.execute(f"{update}, first_violation_at = timestamp '2024-03-04 10:09:00'", [2])
    document = document_of(connection, "INC-1")
    assert "cart-needs-stock (2 of 200 traces)" in said(document, "detection")
    assert "before the recorded start" in said(document, "unknowns")
    connection.execute(update, [3])
    document = document_of(connection, "INC-1")
    assert "cart-needs-stock" not in said(document, "detection")
    assert "before the recorded start" not in said(document, "unknowns")


def test_a_few_baseline_traces_make_no_rule_rare(connection):
    update = "update marts.mart_incident_violations set violated_baseline = 0, traces_baseline = ?"
    connection.execute(update, [99])
    assert "rare" not in said(document_of(connection, "INC-1"), "detection")
    connection.execute(update, [100])
    assert "rare" in said(document_of(connection, "INC-1"), "detection")


@pytest.mark.parametrize(("violated", "words"), [(9, "none in a clearly larger share"), (30, "Furthest above")])
def test_a_rule_is_named_when_chance_does_not_explain_it(connection, violated, words):
    """3 rules: 9 of 80 against 8 of 120 is p = 0.19; 30 of 80 is p < 1e-6."""
    connection.execute(
        "update marts.mart_incident_violations set violated_during = ?, traces_during = 80, violated_baseline = 8,"
        " traces_baseline = 120 where rule_id = 'cart-needs-stock'",
        [violated],
    )
    assert words in said(document_of(connection, "INC-1"), "summary")


def test_detection_before_the_record_is_no_contradiction(connection):
    connection.execute(
        "update marts.fct_incidents set detected_at = started_at - interval 3 minute, time_to_detect_seconds = null,"
        " clock_problem = 'detected before created' where incident_id = 'INC-1'"
    )
    document = document_of(connection, "INC-1")
    assert "detected 3 min before its recorded start" in said(document, "unknowns")
    assert "not computed: time to detect." in said(document, "unknowns")
    assert "contradict" not in said(document)
    assert "if both clocks are right" not in said(document)
    assert "resolved after 10 min" in said(document, "summary")


@pytest.mark.parametrize(
    ("signal", "before", "now"),
    [("latencyp95_s", 2.0, 0.1), ("duration of GET /cart", 900.0, 40.0), ("podsuccessrate_percent", 80.0, 100.0)],
)
def test_what_got_better_does_not_speak_for_a_service(connection, signal, before, now):
    connection.execute(
        "update marts.mart_incident_services set signal_kind = 'metric', signal = ?, baseline_median = ?,"
        " incident_median = ? where service_name = 'front'",
        [signal, before, now],
    )
    assert [one.service_name for one in facts_of(connection, "INC-1").suspects] == ["cart"]
    assert post_mortem.most_abnormal(connection, ["INC-1", "INC-2"]) == {"INC-1": "cart"}
    connection.execute(
        "update marts.mart_incident_services set baseline_median = incident_median, incident_median = baseline_median"
        " where service_name = 'front'"
    )
    assert [one.service_name for one in facts_of(connection, "INC-1").suspects] == ["cart", "front"]


def test_improvements_are_named_on_the_other_side(connection):
    connection.execute(
        "update marts.mart_incident_services set incident_median = 1 where signal = 'duration of GET /cart'"
    )
    hypotheses = said(document_of(connection, "INC-1"), "hypotheses")
    assert "1 signal of it moved far to the better (duration of GET /cart)" in hypotheses
    assert "duration of GET /cart moved" not in hypotheses


def test_a_service_that_no_trace_reached_is_marked(connection):
    assert "no trace of the window reached" not in said(document_of(connection, "INC-1")).lower()
    connection.execute("update marts.mart_incident_impact set services_reached = ['front']")
    document = document_of(connection, "INC-1")
    assert "cart, which no trace of the window reached" in said(document, "summary")
    assert "No trace of the window reached it" in said(document, "hypotheses")


def test_a_creation_is_not_a_time_to_detect(connection):
    connection.execute(
        "update marts.fct_incidents set detected_at = started_at, time_to_detect_seconds = 0"
        " where incident_id = 'INC-1'"
    )
    document = document_of(connection, "INC-1")
    cells = [
        run.text for s in document.sections for b in s.blocks if isinstance(b, Table) for r in b.rows for run in r.cells
    ]
    assert "not measured (the start is the time of creation)" in cells
    assert "0 s" not in cells


def test_equal_facts_give_equal_versions_whatever_the_generation(connection):
    facts = facts_of(connection, "INC-1")
    one, other = (post_mortem.build_document(facts, Stamp(name, None)) for name in ("a", "b"))
    assert one.version == other.version
    connection.execute("update marts.fct_incidents set title = 'Another' where incident_id = 'INC-1'")
    assert document_of(connection, "INC-1").version != one.version


def test_a_hundred_thousand_violations_take_seconds(connection, tmp_path):
    connection.execute("""
        insert into violations.fct_violations
        select v.* replace (md5(t.i::varchar) as violation_id)
        from range(100000) as t (i), (select * from violations.fct_violations where scope_kind = 'trace' limit 1) as v
    """)
    start = time.monotonic()
    post_mortem.write(connection, tmp_path)
    assert time.monotonic() - start < 5
