"""The pages of a replay: what they show, what they leave out and say so, and that nothing from outside acts in them."""

import json
import time
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dagster_project.replay import scratch
from dagster_project.replay.query import replay
from dagster_project.rule_language import load_catalogue, read_inline
from dagster_project.site import replayed, waterfall
from dagster_project.site.replayed import FolderTaken, link_of, write

HOSTILE = "<img src=x onerror=alert(1)>"
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
      - {name: "<script>alert(1)</script>", service: "HOSTILE", trace: t1, id: s1, duration: 10ms}
      - name: pay
        service: shop
        trace: t1
        id: s2
        at: 2ms
        duration: 5ms
        status: error
        attributes: {note: "HOSTILE", "<b>": "</details><script>x</script>"}
      - {name: pay, service: shop, trace: t2, at: 1h}
      - {name: pay, service: shop, trace: t3, at: 2h}
    logs:
      - {trace: t1, span: s2, at: 3ms, severity: error, body: "HOSTILE \\u202e reversed"}
  - {name: b, verdict: satisfied, spans: [{name: a}]}
""".replace("HOSTILE", HOSTILE)
RULE = f'title: "{HOSTILE}" never: any(span("pay")) report: {{note: first(span("pay").note)}}'


class Page(HTMLParser):
    """The elements of a page with their attributes, and all of its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def having(self, word):
        """Elements with that class."""
        return [attrs for _, attrs in self.elements if word in (attrs.get("class") or "").split()]

    @property
    def shown(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    scratch.fill(made, load_catalogue({"rules/x/x.yml": DATA}).rules[0].examples[0])
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(connection, tmp_path_factory):
    made = tmp_path_factory.mktemp("site") / "out"
    answer = replay(connection, read_inline(RULE), with_investigation=True)
    write(connection, answer, made, None, trace_link="https://jaeger.example/trace/{trace_id}?x=1", most_pages=2)
    return made


def pages(folder):
    return [Page(file.read_text(encoding="utf-8")) for file in sorted((folder / "violations").iterdir())]


def test_the_index_has_the_four_answers_and_the_certificate(folder):
    index = Page((folder / "index.html").read_text(encoding="utf-8"))
    sections = {attrs.get("id") for tag, attrs in index.elements if tag == "section"}
    assert {"who", "when", "how-far", "together", "certificate"} <= sections
    assert "exhaustive scan: every violation of what was received" in index.shown
    assert "3 violated; the earliest 2 have a page each" in index.shown
    assert "2 of 3 shown" in index.shown
    linked = {attrs["href"] for tag, attrs in index.elements if tag == "a" and attrs["href"].startswith("violations/")}
    assert linked == {f"violations/{file.name}" for file in (folder / "violations").iterdir()}


def test_everything_it_needs_is_in_the_folder(folder):
    for file in folder.rglob("*.html"):
        for tag, attrs in Page(file.read_text(encoding="utf-8")).elements:
            address = attrs.get("src") or (attrs.get("href") if tag in {"a", "link"} else None) or ""
            if address and not address.startswith(("#", "data:", "https://jaeger.example/")):
                assert (file.parent / address).resolve().is_file(), f"{file.name}: {address}"
    assert json.loads((folder / "answer.json").read_text())["violations"] == 3


def test_a_page_has_the_waterfall_with_the_witness_marked_and_the_logs_beside(folder):
    first = pages(folder)[0]
    spans = first.having("span")
    assert ["witness" in attrs["class"].split() for attrs in spans] == [False, True]
    assert ["failed" in attrs["class"].split() for attrs in spans] == [False, True]
    bars = [attrs["style"] for attrs in first.having("bar-of")]
    assert bars[0].startswith("left:0.0%;width:100.0%")
    assert bars[1].startswith("left:20.0%;width:50.0%")
    assert [attrs["style"] for attrs in first.having("what")] == ["--depth:0", "--depth:1"]
    (log,) = first.having("log")
    assert (log["data-severity"], "witness" in log["class"].split()) == ("error", True)
    assert len(first.having("legend")) == 1
    assert "violation 1 of 3" in first.shown
    assert 'never: any(span("pay"))' in first.shown


def test_text_from_outside_is_text(folder):
    for file in folder.rglob("*.html"):
        page = Page(file.read_text(encoding="utf-8"))
        assert not [tag for tag, _ in page.elements if tag == "img"]
        assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
        scripts = [attrs for tag, attrs in page.elements if tag == "script"]
        assert all("src" in attrs or attrs.get("type") == "application/json" for attrs in scripts)
    assert HOSTILE in pages(folder)[0].shown
    assert "⟨U+202E⟩ reversed" in pages(folder)[0].shown


def test_traces_are_linked_to_where_the_policy_says(folder):
    links = [attrs["href"] for tag, attrs in pages(folder)[0].elements if tag == "a" and "example" in attrs["href"]]
    assert links == [f"https://jaeger.example/trace/{scratch.trace_uuid('t1').hex}?x=1"]


@pytest.mark.parametrize(
    "template",
    [
        None,
        "javascript:alert({trace_id})",
        "https://x.example/",
        'https://x.example/{trace_id}"onclick="',
        "ftp://x/{trace_id}",
    ],
)
def test_other_addresses_are_no_links(template):
    assert link_of(template, "0" * 32) is None


def test_a_folder_of_somebody_else_is_left_alone(connection, tmp_path):
    answer = replay(connection, read_inline(RULE))
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(FolderTaken, match="holds something else"):
        write(connection, answer, tmp_path, None)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_pages_are_replaced_and_those_without_violations_say_so(connection, tmp_path):
    write(connection, replay(connection, read_inline(RULE), with_investigation=True), tmp_path / "out", None)
    clean = replay(connection, read_inline('never: any(span("x"))'), with_investigation=True)
    write(connection, clean, tmp_path / "out", None)
    assert not (tmp_path / "out/violations").exists()
    assert "None in what was scanned" in (tmp_path / "out/index.html").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_nothing(connection, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr(replayed.waterfall, "traces_of", fail)
    with pytest.raises(RuntimeError):
        write(connection, replay(connection, read_inline(RULE)), tmp_path / "out", None)
    assert list(tmp_path.iterdir()) == []
    assert connection.execute("select count(*) from duckdb_tables() where temporary").fetchall() == [(0,)]


def bar(depth, **marks):
    values = dict.fromkeys(("name", "service", "took", "after", "message"), "")
    values |= {"look": "hue-1", "left": 0.0, "width": 1.0, "is_orphan": False, "is_witness": False, "is_error": False}
    values |= dict.fromkeys(("particulars", "attributes", "resource", "events"), ())
    return waterfall.Bar(depth=depth, **(values | marks))


def test_long_traces_fold_where_nothing_matters():
    bars = [bar(0), *(bar(1 + n % 3) for n in range(150)), bar(1), bar(2), bar(3, is_witness=True)]
    bars += [bar(1) for _ in range(100)]
    stretches = waterfall._folded(bars)
    assert [(len(one.bars), one.is_folded) for one in stretches] == [(1, False), (150, True), (3, False), (100, True)]
    assert [one.is_folded for one in waterfall._folded(bars[:200])] == [False]


def test_traces_and_rows_of_a_page_are_bounded_and_counted(tmp_path, monkeypatch):
    connection = scratch.connect()
    many = ", ".join(f"{{name: s{n}, trace: t1, at: {n}ms}}" for n in range(1, 40))
    data = (
        DATA[: DATA.index("    spans:")]
        + f"    spans: [{{name: pay, trace: t1}}, {many}]\n"
        + DATA[DATA.index("  - {name: b,") :]
    )
    scratch.fill(connection, load_catalogue({"rules/x/x.yml": data}).rules[0].examples[0])
    answer = replay(connection, read_inline('never: any(span("s39"))'))
    monkeypatch.setattr(waterfall, "MOST_SPANS", 10)
    write(connection, answer, tmp_path / "out", None)
    connection.close()
    (page,) = pages(tmp_path / "out")
    assert "40 spans (11 shown)" in page.shown, "the witness stands beyond the bound and is shown all the same"
    assert page.having("witness")


def test_a_page_marks_the_witnesses_of_its_own_violation(tmp_path):
    connection = scratch.connect()
    data = DATA[: DATA.index("    spans:")] + """    spans:
      - {name: pay, trace: t1, attributes: {order: 1}}
      - {name: pay, trace: t1, at: 1s, attributes: {order: 2}}
""" + DATA[DATA.index("  - {name: b,") :]  # fmt: skip
    scratch.fill(connection, load_catalogue({"rules/x/x.yml": data}).rules[0].examples[0])
    answer = replay(connection, read_inline('group_by: order gap: 1h never: any(span("pay"))'))
    write(connection, answer, tmp_path / "out", None)
    connection.close()
    marked = [
        ["witness" in attrs["class"].split() for attrs in page.having("span")] for page in pages(tmp_path / "out")
    ]
    assert marked == [[True, False], [False, True]]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its time zone")
def test_the_chart_ends_where_its_last_bar_does_in_any_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        bars = [{"bucket_at": datetime(2024, 1, 1)}]
        until = replayed._window(bars, 3600, datetime(2024, 1, 1))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert until == (datetime(2024, 1, 1), datetime(2024, 1, 1, 1))


def test_no_two_of_the_first_services_look_alike():
    looks = list(waterfall._looks([{"service_name": f"s{number}"} for number in range(30)]).values())
    assert len(set(looks[:24])) == 24
    assert (looks[0], looks[11]) == ("hue-1", "hue-12")
    assert (looks[12], looks[24]) == ("hue-1 again-1", "hue-1 again-2")
    style = (Path(waterfall.__file__).parents[2] / "reports/theme/waterfall.css").read_text()
    assert all(f".{word} {{" in style for look in looks for word in look.split())


def test_a_long_name_is_whole_in_its_title(tmp_path):
    name, service = "n" * 150, "s" * 100
    made = scratch.connect()
    data = DATA.replace("name: pay, service: shop, trace: t2", f"name: {name}, service: {service}, trace: t2")
    scratch.fill(made, load_catalogue({"rules/x/x.yml": data}).rules[0].examples[0])
    answer = replay(made, read_inline(f'never: any(span("{name}"))'))
    write(made, answer, tmp_path / "out", None)
    (page,) = (tmp_path / "out/violations").iterdir()
    titles = [attrs.get("title") for _, attrs in Page(page.read_text()).elements]
    assert titles.count(name) == 1
    assert titles.count(service) == 2  # in its row and in the legend
    made.close()
