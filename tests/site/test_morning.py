from __future__ import annotations

from dataclasses import replace

import pytest

from dagster_project import site
from dagster_project.facts import NightSummary, Stamp, ViolationChange


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


def test_a_later_build_keeps_it(built, connection):
    before = (built.folder / "morning.html").read_bytes()
    site.build(connection, built.folder, Stamp("next", None))
    assert (built.folder / "morning.html").read_bytes() == before


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
