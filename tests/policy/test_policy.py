from pathlib import Path

import pytest

from dagster_project.policy.document import DocumentError
from dagster_project.policy.policy import ClockName, load_policy

SHIPPED = Path(__file__).parents[2] / "data/policy.yml"


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


def test_the_shipped_policy():
    policy = load_policy(SHIPPED)
    assert list(policy.severities) == ["P1", "P2", "P3", "P4"]
    assert [severity.response and severity.response.minutes for severity in policy.severities.values()] == [
        15,
        60,
        240,
        None,
    ]
    assert set(policy.clocks) == set(ClockName)
    assert policy.service_level.error_budget_minutes == pytest.approx(43.2)
    assert policy.incident_window.lead.total_seconds() == 1800


def test_every_target_names_its_source_and_disputed_ones_the_dispute():
    policy = load_policy(SHIPPED)
    assert policy.targets[ClockName.RESOLVE].minutes == 60
    assert "30 minutes" in policy.targets[ClockName.RESOLVE].disagreement
    assert all(target.source for target in policy.targets.values())


@pytest.mark.parametrize(
    ("spelling", "name"), [("P1", "P1"), ("sev2", "P2"), ("3 - Moderate", "P3"), (" LOW ", "P4"), ("P9", None)]
)
def test_spellings_of_severities(spelling, name):
    assert load_policy(SHIPPED).severity_named(spelling) == name


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lead_minutes: 30", "lead_minutes: soon", "incident_window.lead_minutes"),
        ("lead_minutes: 30", "lead_minutes: -5", "greater than 0 (found -5)"),
        ("lead_minutes: 30", "lead_minutes: .nan", "incident_window.lead_minutes"),
        ("lead_minutes: 30", "leed_minutes: 30", "incident_window.leed_minutes: Extra inputs are not permitted"),
        ("availability: 0.999", "availability: 99.9", "less than 1 (found 99.9)"),
        ("trace_url: null", "trace_url: 'https://x.example/{trace}'", "unknown placeholder ['trace']"),
        ("trace_url: null", "trace_url: 'javascript:alert(1)'", "URL scheme should be 'http' or 'https'"),
        ("trace_url: null", "trace_url: 'https://x.example/{trace_id'", "not a template"),
        ("aliases: [SEV2,", "aliases: [SEV1,", "'SEV1' names both P1 and P2"),
        ("abbreviation: MTTR", "abbreviation: MTTR average", "clocks.resolve.abbreviation"),
        ("  lag_minutes: 5\n", "  lag_minutes: 5\n  lag_minutes: 6\n", "'lag_minutes' is given twice"),
        ("clocks:\n  detect:", "clocks:\n  notice:", "clocks.notice"),
        ("severities:\n", "severities: [\n", "policy.yml:"),
        ("window_days: 30", "window_days: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_mistakes_name_file_and_what_is_wrong(changed, old, new, expected):
    with pytest.raises(DocumentError, match=r"policy\.yml:\d+: ") as caught:
        load_policy(changed(old, new))
    assert expected in str(caught.value)


def test_a_mistake_names_its_line_and_all_are_told_at_once(changed):
    file = changed("lead_minutes: 30", "lead_minutes: 0")
    file.write_text(file.read_text().replace("lag_minutes: 5", "lag_minutes: 0"))
    lines = file.read_text().splitlines()
    with pytest.raises(DocumentError) as caught:
        load_policy(file)
    assert [int(problem.split(":")[1]) for problem in caught.value.problems] == [
        next(n for n, text in enumerate(lines, 1) if text.strip().startswith(key)) for key in ("lead_", "lag_")
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
