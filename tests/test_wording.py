from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.wording import (
    LONGEST_TEXT,
    clock,
    counted,
    duration,
    markdown_cell,
    percent,
    quantity,
    revealed,
    scope,
    share,
    size,
    slug,
    utc,
    visible,
)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "unknown"), (0, "0 s"), (0.85, "850 ms"), (0.00496, "4.96 ms"), (2e-7, "200 ns"), (59.4, "59.4 s"),
        (60, "1 min"), (150, "2 min 30 s"), (3600, "1 h"), (12_000, "3 h 20 min"), (93_600, "1 d 2 h"),
        (-61, "\N{MINUS SIGN}1 min 1 s"), (3599.7, "1 h"),
    ],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds, said):
    assert duration(seconds) == said


def test_times_are_utc_whatever_their_zone():
    assert utc(datetime(2024, 3, 4, 11, tzinfo=timezone(timedelta(hours=1)))) == "2024-03-04 10:00:00 UTC"
    assert utc(datetime(2024, 3, 4, 10, 0, 0, 123_456)) == "2024-03-04 10:00:00.123 UTC"
    assert utc(date(2024, 3, 4)) == "2024-03-04"
    assert utc(None) == "unknown"
    assert clock(datetime(2024, 3, 4, 10, 1, 2, tzinfo=UTC)) == "10:01:02"


@given(st.text())
def test_nothing_hidden_is_left_in_visible_text(text):
    shown = visible(text)
    assert not {unicodedata.category(sign) for sign in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert visible(shown) == shown or len(shown) > LONGEST_TEXT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![x](http://a/b.png)", r"\!\[x\](http://a/b.png)"),
        ("a | <b> `c` **d** _e_", r"a \| \<b\> \`c\` \*\*d\*\* \_e\_"),
        ("# one\n\n- two", r"\# one - two"),
        ("&lt;b> \\| ~~x~~ $y$", r"\&lt;b\> \\\| \~\~x\~\~ \$y\$"),
        ("a\u202eb\x00\x1b[31m", "a⟨U+202E⟩b⟨U+0000⟩⟨U+001B⟩\\[31m"),
        ("12.5 % of 3,117,000 (50.95x)", "12.5 % of 3,117,000 (50.95x)"),
    ],
)
def test_text_from_outside_is_no_markdown(text, shown):
    assert markdown_cell(text) == shown


@given(st.text())
def test_a_cell_of_markdown_ends_nowhere_inside(text):
    cell = markdown_cell(text)
    assert not {unicodedata.category(sign) for sign in cell} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    # What is left when every escaped sign is taken out marks nothing up.
    assert not set(re.sub(r"\\.", "", cell)) & set("\\`*_[]<>|#~&$!")


def test_a_megabyte_is_cut_and_its_length_told():
    shown = visible("x" * 1_000_000)
    assert len(shown) < 2 * LONGEST_TEXT
    assert "1,000,000 characters" in shown


def test_lines_survive_where_they_mean_something():
    assert revealed("when:\n\tany\u202e") == "when:\n\tany⟨U+202E⟩"


@given(st.text(min_size=1), st.text(min_size=1))
def test_slugs_are_tame_and_different(one, other):
    assert slug(one).isascii()
    assert "/" not in slug(one)
    assert "." not in slug(one)
    assert (slug(one) == slug(other)) == (one == other)


def test_a_tame_id_is_its_own_slug_but_not_the_name_of_a_list():
    assert slug("INC-2023-01-29-001") == "INC-2023-01-29-001"
    assert slug("index") != "index"
    assert slug("../../etc/passwd").startswith("etc-passwd-")


def test_numbers():
    assert counted(1, "trace") == "1 trace"
    assert counted(12_345, "query", "queries") == "12,345 queries"
    assert quantity(0.00496, "s") == "4.96 ms"
    assert quantity(12.0, "%") == "12 %"
    assert quantity(None) == "unknown"
    assert share(1, 8) == "12.5 %"
    assert share(0, 0) == "of none"
    assert percent(55.79) == "5,579 %"
    assert size(11_407_008) == "11.4 MB"


def test_a_trace_is_written_without_hyphens_and_a_group_as_it_is():
    assert scope("fc44cb49-8940-6f1a-aeca-f3b9a0abd75f") == "fc44cb4989406f1aaecaf3b9a0abd75f"
    assert scope('"fc44cb49-8940-6f1a-aeca-f3b9a0abd75f"') == '"fc44cb49-8940-6f1a-aeca-f3b9a0abd75f"'
