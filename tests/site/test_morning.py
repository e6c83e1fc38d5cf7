from __future__ import annotations

from dataclasses import replace

import pytest

from dagster_project import site
from dagster_project.facts import FailedStep, NightSummary, Stamp, ViolationChange, ViolationLine


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "Nothing failed and no violation is new"),
        (1, "violations that the night before did not have"),
        (2, "failed"),
    ],
)
def test_the_exit_code_is_explained(tmp_path, night, code, said):
    page = site.write_morning(tmp_path / "site", replace(night, exit_code=code)).read_text(encoding="utf-8")
    assert f"Exit code {code}" in page
    assert said in page


def test_it_counts_what_was_loaded_refused_new_and_gone(built):
    page = (built.folder / "morning.html").read_text(encoding="utf-8")
    for said in ("3 new violations", "42", "1,000", "no_trace_id", "1 of 3 shown", "3 min 12 s"):
        assert said in page, said


def test_messages_of_failed_steps_are_text(built):
    page = (built.folder / "morning.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;i&gt;broken&lt;/i&gt;.gz" in page


def test_a_later_build_keeps_it(own_site, connection):
    before = (own_site.folder / "morning.html").read_bytes()
    site.build(connection, own_site.folder, Stamp("next", None))
    assert (own_site.folder / "morning.html").read_bytes() == before


def test_a_night_that_failed_before_the_site_was_built_has_a_page_that_can_be_read(tmp_path, night):
    page = site.write_morning(tmp_path / "site", replace(night, exit_code=2))
    assert (tmp_path / "site/assets/hindcast.css").is_file()
    assert "rules/cart-needs-stock.html" not in page.read_text(encoding="utf-8")


def test_before_the_first_night(connection, tmp_path):
    site.build(connection, tmp_path / "site", Stamp(None, None))
    assert "No night has run yet" in (tmp_path / "site/morning.html").read_text(encoding="utf-8")


def test_a_quiet_night_says_so(tmp_path, night: NightSummary):
    quiet = replace(night, exit_code=0, new=ViolationChange(0), failed_steps=())
    assert "A quiet night" in site.write_morning(tmp_path / "site", quiet).read_text(encoding="utf-8")


def test_what_alerts_nobody_and_what_nobody_can_tell_is_shown_apart(tmp_path, night):
    def one(rule):
        line = ViolationLine(f"v-{rule}", rule, f"Title of {rule}", "high", f"scope-of-{rule}", None, ("cart",))
        return ViolationChange(1234, ((rule, 1234),), (line,))

    told = replace(night, suppressed=one("answered-for"), shadow=one("tried-out"), inconclusive=one("lost"))
    page = site.write_morning(tmp_path / "site", told).read_text(encoding="utf-8")
    for heading, rule in (("Suppressed", "answered-for"), ("In shadow", "tried-out"), ("Newly inconclusive", "lost")):
        assert f"<h2>{heading}</h2>" in page
        assert f"scope-of-{rule}" in page
    assert page.count("1,234") >= 6, "each as a figure of the night, and in the table by rule"
    without = site.write_morning(tmp_path / "site", night).read_text(encoding="utf-8")
    assert "<h2>Suppressed</h2>" not in without
    assert "<h2>Newly inconclusive</h2>" not in without


def test_rules_that_were_left_out_are_told_once_with_the_limit(tmp_path, night):
    stopped = FailedStep("rule endless", "it hit a limit of the engine: more than <600> s")
    told = replace(night, exit_code=2, taken_out=(stopped,), failed_steps=(stopped, *night.failed_steps))
    page = site.write_morning(tmp_path / "site", told).read_text(encoding="utf-8")
    assert "<h2>Rules left out</h2>" in page
    assert page.count("more than &lt;600&gt; s") == 1
    assert "<h2>Failed</h2>" in page, "other steps have failed, too"
    alone = replace(told, failed_steps=(stopped,))
    assert "<h2>Failed</h2>" not in site.write_morning(tmp_path / "site", alone).read_text(encoding="utf-8")
