import csv
import io
import math
import os
import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dagster_project.statistics.mix import split_by_mix, standardised_ratio
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.strata import encode

RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))
ARM = st.lists(st.tuples(st.floats(0.1, 1e5), st.sampled_from(["P1", "P2", "P3"])), min_size=1, max_size=25)


def columns(rows):
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])


def test_kitagawas_split_by_hand():
    # Shares 1/2, 1/2 against 1/4, 3/4; means 10, 2 against 8, 2.
    first, second = np.array([10.0, 2.0]), np.array([8.0, 2.0, 2.0, 2.0])
    split = split_by_mix(first, second, encode(np.array(["P1", "P4"]), np.array(["P1", "P4", "P4", "P4"])))
    assert (split.change, split.within, split.mix) == pytest.approx((-2.5, -2 * 3 / 8, -1.75))
    assert [row.within for row in split.rows] == pytest.approx([-0.75, 0])
    # The mean of the arms' means is 4.75: fewer of what lasts longer, more of what lasts shorter.
    assert [row.mix for row in split.rows] == pytest.approx([-0.25 * (9 - 4.75), 0.25 * (2 - 4.75)])
    assert (split.overlap, split.warning) == (0.75, None)


@settings(deadline=None)
@given(ARM, ARM)
def test_parts_add_up_to_the_change(baseline, candidate):
    (first, labels_1), (second, labels_2) = columns(baseline), columns(candidate)
    split = split_by_mix(first, second, encode(labels_1, labels_2))
    assert split.mix_log + split.within_log == pytest.approx(split.change_log, abs=1e-8)
    assert split.mix + split.within == pytest.approx(split.change, abs=1e-6 * max(first.max(), second.max()))
    back = split_by_mix(second, first, encode(labels_2, labels_1))
    assert (back.mix_log, back.within_log) == pytest.approx((-split.mix_log, -split.within_log), abs=1e-8)
    assert (split.warning is None) is all(row.overlaps for row in split.rows)
    numbers = [v for row in split.rows for v in vars(row).values() if isinstance(v, float)]
    assert all(math.isfinite(value) for value in numbers)


def test_kinds_of_one_arm_are_told_apart_and_named():
    split = split_by_mix(
        np.array([1.0, 4.0]), np.array([4.0, 9.0, 9.0]), encode(np.array(["a", "b"]), np.array(["b", "c", "c"]))
    )
    assert split.warning == (
        "a (1) in the baseline only, c (2) in the candidate only: nothing says how long these would have lasted in the "
        "other arm"
    )
    assert split.within == 0
    assert (split.rows[0].candidate_mean, split.rows[0].candidate_mean_log) == (None, None)


def test_empty_arms_have_no_split():
    labels = encode(np.array(["P1"]), np.empty(0, dtype=np.str_))
    assert split_by_mix(np.array([1.0]), np.empty(0), labels) is None


def one_kind_at_a_time(baseline, candidate, baseline_kinds, candidate_kinds):
    """Difference and ends of its 95 % interval by a loop over kinds; None where one has fewer than two in an arm."""
    difference = variance = 0.0
    for name, count in zip(*np.unique(baseline_kinds, return_counts=True), strict=True):
        first, second = baseline[baseline_kinds == name], candidate[candidate_kinds == name]
        if min(first.size, second.size) < 2:
            return None
        weight = count / baseline.size
        difference += weight * (second.mean() - first.mean())
        variance += weight**2 * (first.var(ddof=1) / first.size + second.var(ddof=1) / second.size)
    half = stats.norm.ppf(0.975) * math.sqrt(variance)
    return difference, difference - half, difference + half


@settings(deadline=None)
@given(ARM, ARM)
def test_standardising_agrees_with_a_loop_over_kinds_where_every_kind_overlaps(baseline, candidate):
    (first, labels_1), (second, labels_2) = columns(baseline), columns(candidate)
    ratio = standardised_ratio(np.log(first), np.log(second), encode(labels_1, labels_2))
    expected = one_kind_at_a_time(np.log(first), np.log(second), labels_1, labels_2)
    if isinstance(ratio, NotPossible) or expected is None:
        return
    assert ratio.covered == 1
    assert (ratio.ratio, ratio.low, ratio.high) == pytest.approx([math.exp(value) for value in expected], rel=1e-6)


def test_what_is_not_covered_is_said():
    logs = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 3.0])
    labels = encode(np.array(["P1", "P1", "P1", "P4"]), np.array(["P1", "P1"]))
    ratio = standardised_ratio(*logs, labels)
    assert (ratio.covered, ratio.ratio) == (0.75, pytest.approx(math.exp(0.5)))
    apart = encode(np.array(["P1"] * 4), np.array(["P4"] * 2))
    assert standardised_ratio(*logs, apart).code == "no_overlap"
    assert standardised_ratio(np.ones(4), np.ones(2), labels).code == "all_equal"


@pytest.fixture(scope="module")
def tickets():
    """Hours to resolve, priority and team of the last state of each ticket of the IT department's recording."""
    path = RECORDINGS / "servicenow-incidents" / "incident_event_log.zip"
    if not path.exists():
        pytest.skip(f"no {path}; name the recordings' folder with HINDCAST_RECORDINGS")
    last = {}
    with zipfile.ZipFile(path) as archive, archive.open("incident_event_log/incident_event_log.csv") as file:
        for row in csv.DictReader(io.TextIOWrapper(file, "utf-8")):
            last[row["number"]] = row
    rows = []
    for row in last.values():
        if row["resolved_at"] == "?":
            continue
        opened, resolved = (datetime.strptime(row[name], "%d/%m/%Y %H:%M") for name in ("opened_at", "resolved_at"))
        if resolved > opened:
            hours = (resolved - opened).total_seconds() / 3600
            rows.append((hours, row["priority"][0], row["assignment_group"], min(int(row["reassignment_count"]), 2)))
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def test_slow_first_priorities_are_explained_and_not_repeated(tickets):
    hours, priorities, teams, handovers = tickets
    low, high = priorities == "4", priorities == "1"
    assert np.median(hours[high]) / np.median(hours[low]) > 10  # the trap
    by_team = split_by_mix(hours[low], hours[high], encode(teams[low], teams[high]))
    # Other teams handle them: within teams next to nothing is left, and two thirds of the mix is not shared.
    assert by_team.within_log < 0.1 * by_team.change_log
    assert by_team.overlap < 0.4
    assert by_team.warning is not None
    # Nor is one priority slower throughout: handed over twice, it is the fourth that takes longer.
    rows = split_by_mix(hours[low], hours[high], encode(handovers[low], handovers[high])).rows
    change = [row.candidate_mean_log - row.baseline_mean_log for row in rows]
    assert change[0] > 1
    assert change[2] < -0.5
