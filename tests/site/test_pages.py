"""What holds for every page: links, escaping, offline, totals, determinism."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb
import plotly.graph_objects as go
import pytest

from dagster_project import post_mortem, site
from dagster_project.facts import Stamp
from dagster_project.site import resolve_times
from tests.site import stand_in_marts

PAGES = {
    *("index.html", "morning.html", "mttr.html", "significance.html", "roi.html", "claims.html", "evidence.html"),
    "data.html",
    *("incidents/index.html", "incidents/INC-1.html", "rules/index.html", "rules/cart-needs-stock.html"),
}

TARGETS = ("mart_kpis", "mart_kpi_alerts", "mart_target_attainment", "mart_error_budget", "mart_delivery_performance")
MADE_BY_PYTHON = (*stand_in_marts.tables(), "mart_evidence")


class Elements(HTMLParser):
    """The elements of a page as (tag, attributes), the ids, and the texts of its JSON scripts."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[dict[str, Any]] = []
        self.text: list[str] = []
        self._is_json = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._is_json = tag == "script" and dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        self._is_json = False

    def handle_data(self, data: str) -> None:
        if self._is_json:
            self.figures.append(json.loads(data))
        else:
            self.text.append(data)

    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.found if attributes.get("id")}

    def addresses(self) -> Iterator[str]:
        for _, attributes in self.found:
            for name in ("href", "src"):
                if address := attributes.get(name):
                    yield address


def test_every_page_is_there(built):
    assert {page.relative_to(built.folder).as_posix() for page in built.pages()} >= PAGES


def test_internal_links_and_fragments_resolve(built):
    ids = {page.resolve(): Elements(page).ids() for page in built.pages()}
    for page in built.pages():
        for address in Elements(page).addresses():
            if address.startswith("data:"):
                continue
            parts = urlsplit(address)
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
            assert target.is_file(), f"{page}: {address}"
            assert not parts.fragment or parts.fragment in ids[target], f"{page}: {address}"


def test_no_page_leads_or_reaches_outside(built):
    ours = [*built.pages(), built.folder / "assets/hindcast.css", built.folder / "assets/charts.js"]
    for file in ours:
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"(?i)(?:https?:)?//[a-z0-9-]+\.[a-z]", text), file
        assert "url(" not in text.replace("url(data:", ""), file
    for page in built.pages():
        assert all(not urlsplit(address).netloc for address in Elements(page).addresses())


def test_hostile_text_stays_text(built):
    allowed_scripts = re.compile(r"(\.\./)?assets/(charts|plotly\.min)\.js")
    for page in built.pages():
        elements = Elements(page)
        for tag, attributes in elements.found:
            assert tag not in {"img", "iframe", "object", "embed", "form", "base", "b", "math"}, page
            assert not any(name.startswith("on") for name in attributes), page
            assert not str(attributes.get("href", "")).lower().strip().startswith("javascript"), page
            if tag == "script":
                is_ours = allowed_scripts.fullmatch(attributes.get("src") or "")
                assert is_ours or attributes.get("type") == "application/json", page
        assert not set("\u202e\u202c\u200b") & set(page.read_text(encoding="utf-8")), page
    title = "".join(Elements(built.folder / "incidents/INC-4-1e52b2aef0.html").text)
    assert '</title><script>alert("x")</script>' in title
    assert "⟨U+202E⟩evil" in title


def test_titles_in_charts_cannot_be_markup(built):
    texts = json.dumps(Elements(built.folder / "index.html").figures)
    assert "<script" not in texts
    assert "<a" not in texts
    assert "&lt;script" in texts


def test_figures_are_valid_and_described(built):
    seen = 0
    for page in built.pages():
        elements = Elements(page)
        for figure in elements.figures:
            plain = json.loads(re.sub(r'"var\(--[\w-]+\)"', '"#123456"', json.dumps(figure)))
            go.Figure(plain)  # raises on a property that plotly does not know
            seen += 1
        plots = [attributes for _, attributes in elements.found if attributes.get("class") == "plot"]
        assert len(plots) == len(elements.figures)
        assert all(len(attributes["aria-label"] or "") > 20 for attributes in plots)
    assert seen >= 6


def test_colours_of_figures_are_in_the_style_sheet(built):
    style = (built.folder / "assets/hindcast.css").read_text(encoding="utf-8")
    for page in built.pages():
        for name in re.findall(r"var\((--[\w-]+)\)", page.read_text(encoding="utf-8")):
            assert f"{name}:" in style, name


def test_every_page_says_what_it_was_made_from(built):
    for page in built.pages():
        text = "".join(Elements(page).text)
        assert "3f2a9c01bd77" in text, page
        assert "2024-03-05 02:00:05 UTC" in text, page


def test_formulas_in_files_are_only_text(built):
    cells = [
        cell
        for file in (built.folder / "csv").glob("*.csv")
        for row in csv.reader(file.open(encoding="utf-8", newline=""))
        for cell in row
    ]
    numbers = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
    acting = [cell for cell in cells if re.match(r"\s*[=+@-]|[\t\r]", cell) and not numbers.fullmatch(cell)]
    assert acting == []
    assert any(cell.startswith("'=order-") for cell in cells)
    assert "'=Licence <b>" in cells


def test_a_negative_number_stays_a_number(built):
    rows = list(csv.DictReader((built.folder / "csv/roi-summary.csv").open(encoding="utf-8")))
    assert min(float(row["net_present_value"]) for row in rows) < 0


def test_files_hold_all_rows_and_tables_say_how_many_they_leave_out(connection, tmp_path):
    connection.execute(
        "insert into violations.fct_violations select v.* replace (md5(t.i::varchar) as violation_id)"
        " from range(500) as t (i),"
        " (select * from violations.fct_violations where rule_id = 'cart-needs-stock' limit 1) as v"
    )
    connection.execute("update marts.dim_rules set violated = 540 where rule_id = 'cart-needs-stock'")
    site.build(connection, tmp_path / "site", Stamp(None, None))
    page = (tmp_path / "site/rules/cart-needs-stock.html").read_text(encoding="utf-8")
    assert "50 of 540 shown" in page
    rows = list(csv.reader((tmp_path / "site/csv/rule-cart-needs-stock-violations.csv").open(encoding="utf-8")))
    assert len(rows) == 541


def test_traces_and_spans_are_written_as_tracing_tools_write_them(built):
    rows = list(csv.DictReader((built.folder / "csv/rule-cart-needs-stock-violations.csv").open(encoding="utf-8")))
    trace = f"{4:032d}"
    assert rows[0]["scope_key"] == rows[0]["trace_ids"] == trace
    assert rows[0]["witness"] == f"{trace}:{1:016x}"
    for name in ("rules/cart-needs-stock.html", "incidents/INC-1.html"):
        text = " ".join(Elements(built.folder / name).text)
        assert re.search(r"\b0{29}\d{3}\b", text)
        assert "00000000-0000" not in text.split("Reference")[0], name


def test_a_rule_that_judged_nothing_is_marked_everywhere(connection, tmp_path):
    connection.execute("update marts.dim_rules set status = 'shadow' where rule_id = 'payment-idempotency'")
    site.build(connection, tmp_path / "site", Stamp(None, None))
    for page in ("index", "rules/index", "rules/hostile-rule"):
        assert "never applied" in (tmp_path / f"site/{page}.html").read_text(encoding="utf-8"), page
    for page in ("index", "rules/index", "rules/payment-idempotency"):
        assert ">shadow</span>" in (tmp_path / f"site/{page}.html").read_text(encoding="utf-8"), page
    assert "never applied" not in (tmp_path / "site/rules/cart-needs-stock.html").read_text(encoding="utf-8")


def test_the_headline_counts_the_traces_that_violate(built, connection):
    ((violations, traces),) = connection.execute(
        "select count(*), count(distinct trace_ids[1]) from violations.fct_violations"
    ).fetchall()
    assert traces < violations
    head = " ".join(Elements(built.folder / "index.html").text)
    assert f"{violations} violations in {traces} of 200 traces" in head


def test_a_hash_is_shown_whole_with_how_to_check_it(built):
    page = (built.folder / "evidence.html").read_text(encoding="utf-8")
    assert f'<code class="hash">{"d" * 64}</code>' in page
    assert "sha256sum &lt;path&gt;" in page


def test_the_list_names_a_service_where_the_paper_does(connection, tmp_path):
    def named() -> str:
        site.build(connection, tmp_path / "site", Stamp(None, None))
        return (tmp_path / "site/incidents/index.html").read_text(encoding="utf-8")

    assert ">cart</code>" in named()
    connection.execute("update marts.mart_incident_services set shift = 2.9")
    assert all(not facts.suspects for facts in post_mortem.gather(connection))
    assert ">cart</code>" not in named()


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_state_gives_the_same_bytes(connection, tmp_path, night):
    for name in ("one", "two"):
        documents = post_mortem.write(connection, tmp_path / f"{name}-papers")
        site.build(connection, tmp_path / name, Stamp("g", None), documents=documents, night=night)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")


def test_a_build_that_fails_leaves_the_old_site(own_site, connection):
    before = _digests(own_site.folder)
    connection.execute("drop table marts.mart_load_summary")
    with pytest.raises(duckdb.CatalogException):
        site.build(connection, own_site.folder, Stamp("other", None))
    assert _digests(own_site.folder) == before
    assert [path.name for path in own_site.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_build_removes_what_a_killed_one_left(own_site, connection):
    killed = subprocess.Popen(["true"])
    killed.wait()
    left = own_site.folder.with_name(f".site.{killed.pid}.partial")  # any other number may be a process
    (left / "assets").mkdir(parents=True)
    site.build(connection, own_site.folder, Stamp("g", None))
    assert not left.exists()


def test_pages_without_their_mart_say_so(connection, tmp_path):
    for mart in (*MADE_BY_PYTHON, *TARGETS):
        connection.execute(f"drop table marts.{mart}")
    site.build(connection, tmp_path / "site", Stamp("g", None))
    missing = {
        "significance": "comparisons.yml",
        "roi": "data/roi.yml",
        "claims": "data/claims/",
        "evidence": "No evidence",
        "mttr": "Indicators are not in this generation",
    }
    for page, said in missing.items():
        assert said in (tmp_path / f"site/{page}.html").read_text(encoding="utf-8")


def test_an_empty_warehouse_has_a_site(connection, tmp_path):
    tables = connection.execute("select table_schema || '.' || table_name from information_schema.tables").fetchall()
    for (table,) in tables:
        connection.execute(f"delete from {table}")
    site.build(connection, tmp_path / "site", Stamp(None, None))
    index = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert "Nothing is recorded yet" in index
    assert "No incident was resolved yet" in index


def test_an_incident_without_a_post_mortem_is_not_a_link(connection, tmp_path):
    site.build(connection, tmp_path / "site", Stamp(None, None))
    index = Elements(tmp_path / "site/index.html")
    assert not [address for address in index.addresses() if re.search(r"incidents/INC", address)]
    assert "INC-1" in "".join(index.text)


def test_every_incident_that_was_resolved_is_a_point(built, connection):
    figure = next(f for f in Elements(built.folder / "mttr.html").figures)
    points = sum(len(trace["x"]) for trace in figure["data"] if trace["name"] not in {"median", "90th percentile"})
    ((resolved,),) = connection.execute(
        "select count(*) from marts.fct_incidents where time_to_resolve_seconds > 0"
    ).fetchall()
    assert points == resolved > 100
    assert figure["layout"]["xaxis"]["type"] == "log"


def test_bars_add_up_to_the_violations(built, connection):
    figure = Elements(built.folder / "index.html").figures[0]
    bars = sum(sum(trace["y"]) for trace in figure["data"] if trace["type"] == "bar" and trace.get("yaxis") is None)
    assert connection.execute("select count(*) from violations.fct_violations").fetchall() == [(bars,)]


def test_no_figure_holds_what_json_does_not_know(built):
    """NaN and Infinity, at which a browser stops drawing."""
    seen = 0
    for page in built.pages():
        for script in re.findall(r'<script type="application/json">(.*?)</script>', page.read_text("utf-8"), re.DOTALL):
            assert not re.search(r"[:\[,]\s*-?(?:NaN|Infinity)\b", script), page
            seen += 1
    assert seen >= 20


def test_of_very_many_incidents_some_are_drawn_and_the_caption_says_so(connection, tmp_path, monkeypatch):
    monkeypatch.setattr(resolve_times, "MOST_POINTS", 50)
    site.build(connection, tmp_path / "site", Stamp("g", None))
    page = (tmp_path / "site/mttr.html").read_text(encoding="utf-8")
    figure = Elements(tmp_path / "site/mttr.html").figures[0]
    assert sum(len(one["x"]) for one in figure["data"] if one["name"] not in {"median", "90th percentile"}) == 50
    assert "taken at random" in page


def test_open_incidents_stay_apart_from_ended_ones(connection, tmp_path):
    ((open_points,),) = connection.execute(
        "select count(*) from marts.mart_significance_points where is_open and comparison_id = 'tickets-halves'"
    ).fetchall()
    site.build(connection, tmp_path / "site", Stamp("g", None))
    figure = _figure(tmp_path / "site/significance.html", "points-tickets-halves")
    drawn = [one for one in figure["data"] if one["name"] == "open"]
    assert sum(len(one["x"]) for one in drawn) == open_points > 0
    assert {one["marker"]["symbol"] for one in drawn} == {"circle-open"}


def test_the_sentence_comes_before_what_may_not_be_concluded_and_that_before_figures(built, connection):
    page = (built.folder / "significance.html").read_text(encoding="utf-8")
    for (name,) in connection.execute("select comparison_id from marts.mart_significance").fetchall():
        section = page[page.index(f'<section class="block comparison" id="{name}"') :]
        places = [section.index(part) for part in ('class="lead"', "What this may not conclude", "The protocol, step")]
        assert places == sorted(places), name
        assert section.index("What this may not conclude") < section.index("<h3>The arms")


def test_labour_alone_always_stands_beside_the_whole(built, connection):
    page = (built.folder / "roi.html").read_text(encoding="utf-8")
    estimates = connection.execute("select distinct estimate_id from marts.mart_roi_summary").fetchall()
    for (name,) in estimates:
        section = page.split(f'id="estimate-{name}"')[1].split("<section")[0]
        assert "by labour alone" in section
        assert "labour only: saved hours, nothing prevented" in section
    assert len(estimates) == 2


def test_what_nothing_supports_is_marked_by_a_word_as_well(built):
    page = (built.folder / "roi.html").read_text(encoding="utf-8")
    row = page.split('data-id="shop/labour.hours_before"')[1].split("</tr>")[0]
    assert '<span class="support" data-support="unsupported">unsupported</span>' in row


def test_without_ranges_nothing_is_drawn_and_the_page_says_so(built):
    page = (built.folder / "roi.html").read_text(encoding="utf-8")
    assert "npv-fixed" not in page
    assert "npv-shop" in page
    assert "no assumption has a range" in page.split('id="estimate-fixed"')[1]


def test_limits_are_drawn_only_where_they_judge(built, connection):
    page = built.folder / "mttr.html"
    drawn = {one["name"] for one in _figure(page, "control-mttr-servicenow")["data"]}
    assert {"control limits", "centre", "target"} <= drawn
    few = {one["name"] for one in _figure(page, "control-repeat_incidents-servicenow")["data"]}
    assert few == {"Repeat incidents, servicenow", "target"}
    assert "No limits: fewer than 8 periods with a value" in page.read_text(encoding="utf-8")


def _figure(page: Path, name: str) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    start = text.index('<script type="application/json">', text.index(f'<figure class="chart" id="{name}">'))
    figure: dict[str, Any] = json.loads(text[text.index(">", start) + 1 : text.index("</script>", start)])
    return figure


def _built(connection: duckdb.DuckDBPyConnection, folder: Path, page: str) -> str:
    site.build(connection, folder / "site", Stamp("g", None))
    return (folder / f"site/{page}.html").read_text(encoding="utf-8")


def test_a_verdict_on_few_incidents_looks_like_less(connection, tmp_path):
    connection.execute("update marts.mart_significance set tier = 'full'")
    assert 'data-tier="indicative"' not in _built(connection, tmp_path, "significance")
    full = _figure(tmp_path / "site/significance.html", "ratios")["data"][0]["marker"]["symbol"]
    connection.execute("update marts.mart_significance set tier = 'indicative' where comparison_id = 'tickets-halves'")
    page = _built(connection, tmp_path, "significance")
    few = _figure(tmp_path / "site/significance.html", "ratios")["data"][0]["marker"]["symbol"]
    assert re.search(r'<span class="verdict"[^>]* data-tier="indicative">[^<]*, indicative</span>', page)
    assert set(full) == {"square"}
    assert few.count("square-open") == 1


def test_an_effect_that_was_not_shown_is_marked_beside_the_headline(connection, tmp_path):
    assert "effect not shown" not in _built(connection, tmp_path, "roi").split('id="estimate-fixed"')[0]
    connection.execute(
        "update marts.mart_roi_inputs set comparison_id = 'tickets-halves', comparison_verdict = 'INCONCLUSIVE'"
        " where roi_input_id = 'shop/labour.hours_before'"
    )
    section = _built(connection, tmp_path, "roi").split('id="estimate-shop"')[1].split("<section")[0]
    headline = section.split('data-key="net_present_value">')[1].split("</div>")[0]
    assert 'data-verdict="inconclusive"' in headline
    assert "effect not shown" in headline


def test_two_bases_with_the_same_numbers_are_one_row(connection, tmp_path):
    def rows_of(page: str) -> int:
        section = page.split('id="estimate-shop"')[1].split("<h3>When money", maxsplit=1)[0]
        return section.count('<tr data-id="shop/')

    page = _built(connection, tmp_path, "roi")
    assert rows_of(page) == 1
    assert "all benefit lines, and the same as labour only" in page
    connection.execute(
        "update marts.mart_roi_summary set net_present_value = net_present_value - 10000"
        " where roi_summary_id = 'shop/labour_only'"
    )
    assert rows_of(_built(connection, tmp_path, "roi")) == 2


def test_a_clock_of_one_value_is_a_sentence(connection, tmp_path):
    assert 'id="survival-resolve"' in _built(connection, tmp_path, "mttr")
    connection.execute("update marts.mart_clock_curves set minutes = 1 / 60 where clock = 'resolve'")
    connection.execute("update marts.mart_mttr_baseline set longest_minutes = 0 where clock = 'resolve'")
    page = _built(connection, tmp_path, "mttr")
    assert 'id="survival-resolve"' not in page
    assert "Every one that has ended took 0 s, so that there is no curve to draw." in page


def test_an_indicator_of_one_value_is_a_sentence(connection, tmp_path):
    connection.execute("update marts.mart_kpi_alerts set value = 0.5 where kpi = 'repeat_incidents'")
    page = _built(connection, tmp_path, "mttr")
    assert 'id="control-repeat_incidents-servicenow"' not in page
    assert re.search(r"Repeat incidents, servicenow: 50 % in each of \d+ periods", page)


def test_numbers_of_clocks_come_before_any_figure(built):
    page = (built.folder / "mttr.html").read_text(encoding="utf-8")
    places = [page.index(part) for part in ('id="clocks"', 'id="indicators"', "<figure", "A slower severity")]
    assert places == sorted(places)


def test_the_strokes_of_a_legend_differ(built):
    figure = _figure(built.folder / "mttr.html", "time-to-resolve")
    shown = [one for one in figure["data"] if one.get("showlegend", True)]
    assert [one["name"] for one in shown] == ["median", "90th percentile"]
    assert len({one["line"]["dash"] for one in shown}) == 2


def test_cells_of_claims_name_their_column_on_a_telephone(built):
    page = (built.folder / "claims.html").read_text(encoding="utf-8")
    row = page.split("<tbody>")[1].split("</tr>")[0]
    assert re.findall(r'data-label="([^"]+)"', row)[:3] == ["Verdict", "Claim", "Stated"]
