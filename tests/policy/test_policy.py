import json
from pathlib import Path

import pytest
import yaml

from dagster_project.policy.document import DocumentError
from dagster_project.policy.policy import dbt_vars, load_policy

SHIPPED = Path(__file__).parents[2] / "data/policy.yml"
DBT_PROJECT = SHIPPED.parents[1] / "dbt/dbt_project.yml"


@pytest.fixture
def changed(tmp_path):
    """A copy of the shipped policy with one text replaced; the text must be there."""

    def change(old, new):
        text = SHIPPED.read_text()
        assert old in text
        file = tmp_path / "policy.yml"
        file.write_text(text.replace(old, new, 1))
        return file

    return change


def test_the_shipped_policy_is_what_the_models_default_to():
    wanted = dbt_vars(load_policy(SHIPPED))
    declared = yaml.safe_load(DBT_PROJECT.read_text())["vars"]
    assert wanted == {name: declared[name] for name in wanted}
    assert wanted["incident_lead_minutes"] == 2


def test_the_variables_follow_the_file(changed):
    file = changed("lead_minutes: 2", "lead_minutes: 30")
    file.write_text(
        file.read_text().replace("[critical, blocker, highest]", "[' SEV1 ', 2am]").replace("pagerduty]", "servicenow]")
    )
    found = json.loads(json.dumps(dbt_vars(load_policy(file))))
    assert (found["incident_lead_minutes"], found["open_incident_hours"], found["deploy_lookback_hours"]) == (
        30,
        24,
        24,
    )
    assert found["severity_aliases"]["P1"] == ["sev1", "2am"]
    assert found["telemetry_systems"] == ["incidents", "servicenow"]


def test_a_policy_without_statuses_leaves_them_to_the_models(tmp_path):
    text = SHIPPED.read_text()
    start, end = text.index("ticket_statuses:"), text.index("# Systems whose incidents")
    (tmp_path / "policy.yml").write_text(text[:start] + text[end:])
    assert "ticket_statuses" not in dbt_vars(load_policy(tmp_path / "policy.yml"))


def test_a_policy_without_targets_leaves_them_to_the_models(tmp_path):
    text = SHIPPED.read_text()
    start, end = text.index("# Targets."), text.index("# Where a page of")
    (tmp_path / "policy.yml").write_text(text[:start] + text[end:])
    assert not {"response_targets", "service_levels", "kpis", "delivery"} & set(
        dbt_vars(load_policy(tmp_path / "policy.yml"))
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lead_minutes: 2", "lead_minutes: soon", "incident_window.lead_minutes"),
        ("lead_minutes: 2", "lead_minutes: -5", "greater than or equal to 0 (found -5)"),
        ("lead_minutes: 2", "lead_minutes: 2.5", "incident_window.lead_minutes"),
        ("lead_minutes: 2", "leed_minutes: 2", "incident_window.leed_minutes: Extra inputs are not permitted"),
        ("open_incident_hours: 24", "open_incident_hours: 1000", "less than or equal to 744 (found 1000)"),
        ("[high, major]", "[high, Blocker]", "'Blocker' names both P1 and P2"),
        ("  P5:", "  P6:", "severities.P6"),
        ("[resolved, done", "[resolved, Closed", "'closed' names both resolved and closed"),
        ("  mitigated: [", "  mended: [", "ticket_statuses.mended"),
        ("pagerduty]\n", "pagerdutty]\n", "telemetry_systems.1"),
        ("  lead_minutes: 2\n", "  lead_minutes: 2\n  lead_minutes: 3\n", "'lead_minutes' is given twice"),
        ("severities:\n", "severities: [\n", "policy.yml:"),
        ("{acknowledge: 15, mitigate: 60", "{acknowledge: 0, mitigate: 60", "response_targets.minutes.P1.acknowledge"),
        ("{acknowledge: 15, mitigate: 60", "{resolved: 15, mitigate: 60", "response_targets.minutes.P1.resolved"),
        ("availability_percent: 99.9\n", "availability_percent: 999\n", "service_levels.default.availability_percent"),
        (
            "  services: {}",
            "  services: {' ': {availability_percent: 9, basis: estimate, source: x}}",
            "without a name",
        ),
        ("basis: published", "basis: rumour", "kpis.mttr.basis"),
        ("    source: A first guess, to be replaced by a year of your own\n", "", "kpis.repeat_incidents.source"),
        ("same: [service_name, category]", "same: [service]", "kpis.repeat_incidents.same.0"),
        ("period: month", "period: day", "kpis.period"),
        ("minimum_periods: 8", "minimum_periods: 13", "more than baseline_periods 12"),
        ("bulk_rollback_services: 5", "bulk_rollback_services: 1", "delivery.bulk_rollback_services"),
        ("hours: 24", "hours: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_mistakes_name_file_and_what_is_wrong(changed, old, new, expected):
    with pytest.raises(DocumentError, match=r"policy\.yml:\d+: ") as caught:
        load_policy(changed(old, new))
    assert expected in str(caught.value)


def test_a_mistake_names_its_line_and_all_are_told_at_once(changed):
    file = changed("lead_minutes: 2", "lead_minutes: -1")
    file.write_text(file.read_text().replace("open_incident_hours: 24", "open_incident_hours: 0"))
    lines = file.read_text().splitlines()
    with pytest.raises(DocumentError) as caught:
        load_policy(file)
    assert [int(problem.split(":")[1]) for problem in caught.value.problems] == [
        next(n for n, text in enumerate(lines, 1) if text.strip().startswith(key)) for key in ("lead_", "open_")
    ]


def test_no_file_no_yaml_no_text(tmp_path):
    with pytest.raises(DocumentError, match="no such file"):
        load_policy(tmp_path / "policy.yml")
    empty = tmp_path / "empty.yml"
    empty.write_text("")
    with pytest.raises(DocumentError, match="severities: Field required"):
        load_policy(empty)
    binary = tmp_path / "binary.yml"
    binary.write_bytes(b"a: \xff")
    with pytest.raises(DocumentError, match="not UTF-8 at byte 3"):
        load_policy(binary)


def test_a_list_instead_of_a_mapping(tmp_path):
    file = tmp_path / "policy.yml"
    file.write_text("- one\n- two\n")
    with pytest.raises(DocumentError, match=r"policy\.yml:1: the file: "):
        load_policy(file)
