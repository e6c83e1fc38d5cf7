"""roi.html: what an estimate of return brings, when, how sure that is, and on which assumptions it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dagster_project.site import charts
from dagster_project.site.tables import DASH, Cell, Column, Fact, Table, cell, fact, table
from dagster_project.site.workshop import Row, Workshop
from dagster_project.wording import slug

BASES = {"all_lines": "all benefit lines", "labour_only": "labour only: saved hours, nothing prevented"}
BOTH = f"{BASES['all_lines']}, and the same as {BASES['labour_only']}"
# Beyond it a bar is too thin to matter; the file has them all.
MOST_DRIVERS = 15
SUMMARIES = ("marts.mart_roi_summary", "roi_summary_id")
LINES = ("marts.mart_roi_lines", "roi_line_id")
INPUTS = ("marts.mart_roi_inputs", "roi_input_id")
DRAWS = ("marts.mart_roi_draws", "roi_draws_id")
BINS = ("marts.mart_roi_histogram", "roi_bin_id")
DRIVERS = ("marts.mart_roi_tornado", "roi_tornado_id")
FILES = {
    "roi-summary": "select * from marts.mart_roi_summary order by estimate_id, basis",
    "roi-lines": "select * from marts.mart_roi_lines order by estimate_id, basis, position, year",
    "roi-inputs": "select * from marts.mart_roi_inputs order by estimate_id, input_id",
    "roi-draws": "select * from marts.mart_roi_draws order by estimate_id, basis",
    "roi-histogram": "select * from marts.mart_roi_histogram order by estimate_id, basis, bin",
    "roi-tornado": "select * from marts.mart_roi_tornado order by estimate_id, basis, position",
}
# A line that is 0 in every year was not asked for.
LINES_OF = """
select * from marts.mart_roi_lines
where estimate_id = $id and basis = $basis
qualify bool_or(amount <> 0) over (partition by line_id)
order by position, year
"""
UNSHOWN = """
select estimate_id, list_sort(list(distinct comparison_verdict)) as verdicts from marts.mart_roi_inputs
where comparison_id is not null and comparison_verdict <> 'IMPROVED'
group by estimate_id
"""
OVERVIEW = frozenset({"net_present_value", "roi", "payback_months", "unsupported_inputs"})
SHORT = ({"all_lines": "all lines", "labour_only": "labour only"}, "all lines, and labour only the same")
_RESULT = (
    Column("basis", "Counted", "wide"),
    Column("present_costs", "Costs", "money"),
    Column("present_benefits", "Benefits", "money"),
    Column("net_present_value", "Net (NPV)", "money"),
    Column("roi", "Return (ROI)", "share"),
    Column("benefit_cost_ratio", "Benefits ÷ costs", "factor"),
    Column("irr", "IRR", "share"),
    Column("payback_months", "Months to pay back", "months"),
    Column("break_even_share", "Breaks even at this share of its effects", "share"),
    Column("break_even_incidents", "… or at incidents a year", "number"),
    Column("unsupported_inputs", "Unsupported assumptions", "length"),
)
_DRAWN = (
    Column("basis", "Counted", "wide"),
    Column("npv_p05", "NPV, P5", "money"),
    Column("npv_p50", "P50", "money"),
    Column("npv_p95", "P95", "money"),
    Column("probability_npv_negative", "P(NPV < 0)", "share"),
    Column("roi_p05", "ROI, P5", "share"),
    Column("roi_p50", "P50", "share"),
    Column("roi_p95", "P95", "share"),
    Column("draws", "Draws", "count"),
    Column("drawn_count", "Drawn", "count"),
    Column("fixed_count", "Held fixed", "count"),
)
_DRIVERS = (
    Column("driver_id", "Assumption", "code"),
    Column("is_supported", "Support", "support"),
    Column("low", "Low", "number"),
    Column("value", "Value", "number"),
    Column("high", "High", "number"),
    Column("unit", "Unit"),
    Column("npv_at_low", "NPV at low", "money"),
    Column("npv_at_high", "NPV at high", "money"),
    Column("swing", "Swing", "money"),
    Column("break_even_value", "NPV is 0 at", "number"),
)
_CALCULATED = (
    Column("label", "Line"),
    Column("year", "Year", "count"),
    Column("calculation", "Amount, then its present value", "sentences"),
    Column("present_value", "Present value", "money"),
)
_LEDGER = (
    Column("input_id", "Assumption", "code"),
    Column("value", "Value", "number"),
    Column("unit", "Unit"),
    Column("low", "Low", "number"),
    Column("high", "High", "number"),
    Column("distribution", "Drawn as"),
    Column("is_supported", "Support", "support"),
    Column("confidence", "Confidence"),
    Column("source", "Source", "wide"),
    Column("dated_on", "Dated", "time"),
)
_EFFECTS = (
    Column("input_id", "Assumption", "code"),
    Column("comparison_id", "Comparison", "code", link="href"),
    Column("comparison_verdict", "Verdict", "verdict"),
    Column("effect_ratio", "Ratio used", "factor"),
    Column("effect_low", "from", "factor"),
    Column("effect_high", "to", "factor"),
    Column("value", "Value", "number"),
    Column("effective_value", "With its effect", "number"),
    Column("unit", "Unit"),
)


def write(workshop: Workshop) -> None:
    """The page; without estimates it says so."""
    estimates: list[dict[str, Any]] = []
    overview = None
    if workshop.has(SUMMARIES[0]) and workshop.has(LINES[0]):
        files = {name: workshop.csv(name, query) for name, query in FILES.items() if workshop.has(_mart_of(name))}
        summaries = workshop.rows(FILES["roi-summary"])
        for row in summaries:
            row["href"] = f"#{_anchor(row['estimate_id'])}"
        by_estimate = {row["estimate_id"]: [] for row in summaries}  # type: dict[str, list[Row]]
        for row in summaries:
            by_estimate[row["estimate_id"]].append(row)
        unshown = _unshown(workshop)
        for row in summaries:
            row["verdicts"] = unshown.get(row["estimate_id"], ())
        estimates = [_estimate(workshop, name, rows, files) for name, rows in by_estimate.items()]
        overview = _overview(list(by_estimate.values()), files) if len(by_estimate) > 1 else None
    workshop.page("roi.html", "roi.html.j2", current="roi", estimates=estimates, overview=overview)


def _mart_of(file: str) -> str:
    return f"marts.mart_{file.replace('-', '_')}"


def _anchor(estimate_id: str) -> str:
    return f"estimate-{slug(estimate_id)}"


def _unshown(workshop: Workshop) -> dict[str, tuple[str, ...]]:
    """By estimate the verdicts of the comparisons that it takes an effect from and that did not show it."""
    found = workshop.rows(UNSHOWN) if workshop.has(INPUTS[0]) else []
    return {row["estimate_id"]: tuple(row["verdicts"]) for row in found}


def _overview(estimates: Sequence[list[Row]], files: dict[str, str]) -> Table:
    columns: tuple[Column, ...] = (
        Column("title", "Estimate", "wide", link="href"),
        Column("basis", "Counted"),
        *(column for column in _RESULT if column.key in OVERVIEW),
    )
    if any(row["verdicts"] for rows in estimates for row in rows):
        columns = (*columns[:2], Column("unshown", "Its effect is", "verdict"), *columns[2:])
    columns = (*columns, Column("currency", "In"))
    rows = [
        {**row, "unshown": ", ".join(row["verdicts"])}
        for mine in estimates
        for row in _based(mine, [column for column in columns if column in _RESULT], SHORT)
    ]
    return table("Every estimate, whole and by labour alone", columns, rows, csv=files["roi-summary"], source=SUMMARIES)


def _estimate(workshop: Workshop, estimate_id: str, summaries: list[Row], files: dict[str, str]) -> dict[str, Any]:
    first = summaries[0]
    lines = workshop.rows(LINES_OF, id=estimate_id, basis=first["basis"])
    drawn = _found(workshop, DRAWS, estimate_id, "basis")
    named = slug(estimate_id)
    currency = first["currency"]
    return {
        "id": _anchor(estimate_id),
        "title": first["title"],
        "sentence": first["sentence"],
        "others": [said for said in dict.fromkeys(row["sentence"] for row in [*summaries, *drawn])
                   if said != first["sentence"]],
        "stated_sentence": first["stated_sentence"],
        "facts": _facts(summaries, drawn),
        "stated": _stated(first),
        "cash_flow": charts.cash_flow(f"cash-flow-{named}", rows=lines, currency=currency, csv=files["roi-lines"])
        if lines else None,
        "cash_table": _cash_table(lines, currency, files["roi-lines"]),
        "calculated": table(
            "Every amount with its numbers", _CALCULATED, [row for row in lines if row["amount"]],
            csv=files["roi-lines"], source=LINES,
        ),
        "result": table(
            f"Present values in {currency} over {first['years']} years at {first['discount_rate']:.0%} a year", _RESULT,
            _based(summaries, _RESULT), csv=files["roi-summary"], source=SUMMARIES,
        ),
        **_chances(workshop, estimate_id, first, drawn, files),
        **_ledger(workshop, estimate_id, files),
        "caveats": list(dict.fromkeys(caveat for row in summaries for caveat in row["caveats"] or [])),
        "plan_sha256": first["plan_sha256"],
        "years": first["years"],
        "discount_rate": first["discount_rate"],
    }  # fmt: skip


def _found(workshop: Workshop, source: tuple[str, str], estimate_id: str, order: str) -> list[Row]:
    """Rows of an estimate; of a mart that is not there none. Names come from this module alone."""
    mart, _ = source
    if not workshop.has(mart):
        return []
    query = f"select * from {mart} where estimate_id = $id order by {order}"  # noqa: S608
    return workshop.rows(query, id=estimate_id)


def _based(
    rows: Sequence[Row], columns: Sequence[Column], names: tuple[dict[str, str], str] = (BASES, BOTH)
) -> list[Row]:
    """A row a basis, with its name; one for all where they do not differ in any of the columns."""
    by_basis, both = names
    numbers = [[row[column.key] for column in columns if column.key != "basis"] for row in rows]
    if len(rows) > 1 and all(each == numbers[0] for each in numbers):
        return [{**rows[0], "basis": both}]
    return [{**row, "basis": by_basis.get(row["basis"], row["basis"])} for row in rows]


def _facts(summaries: Sequence[Row], drawn: Sequence[Row]) -> list[Fact]:
    first, labour = summaries[0], next((row for row in summaries if row["basis"] == "labour_only"), None)
    money, share = "money", "share"
    npv = fact(first, SUMMARIES, Column("net_present_value", "net present value", money), first["currency"])
    facts = [
        replace(npv, verdicts=first["verdicts"]),
        fact(first, SUMMARIES, Column("roi", "return (ROI)", share), "benefits less costs, over costs"),
        fact(first, SUMMARIES, Column("payback_months", "months to pay back", "months"), "from the first spend"),
    ]
    if drawn:
        beside = f"{drawn[0]['draws']:,} draws" if drawn[0]["drawn_count"] else "nothing has a range to draw from"
        facts.append(fact(drawn[0], DRAWS, Column("probability_npv_negative", "chance of a loss", share), beside))
    if labour:
        beside = "the same" if labour["net_present_value"] == first["net_present_value"] else "nothing prevented"
        facts.append(fact(labour, SUMMARIES, Column("net_present_value", "by labour alone", money), beside))
    return facts


def _stated(row: Row) -> list[Fact]:
    """The return that the source states, beside what its own figures and this estimate give."""
    if row["stated_ratio"] is None:
        return []
    columns = (
        (Column("stated_ratio", "stated as return", "times"), "by the source"),
        (Column("stated_benefit_cost_ratio", "its benefits ÷ costs", "times"), "by its own yearly figures"),
        (Column("stated_roi", "its return", "times"), "by the same figures: one less"),
        (Column("roi", "what holds", "times"), "return by the lines below"),
    )
    return [fact(row, SUMMARIES, column, beside) for column, beside in columns]


def _chances(
    workshop: Workshop, estimate_id: str, first: Row, drawn: list[Row], files: dict[str, str]
) -> dict[str, Any]:
    """Distribution and tornado of the whole estimate, each None where nothing has a range."""
    basis, named = first["basis"], slug(estimate_id)
    bins = [row for row in _found(workshop, BINS, estimate_id, "bin") if row["basis"] == basis]
    drivers = [row for row in _found(workshop, DRIVERS, estimate_id, "position") if row["basis"] == basis]
    mine = next((row for row in drawn if row["basis"] == basis), None)
    histogram = tornado = None
    if mine and bins and mine["drawn_count"]:
        histogram = charts.distribution(f"npv-{named}", bins=bins, drawn=mine, csv=files["roi-histogram"])
    if moving := [row for row in drivers if row["swing"]]:
        tornado = charts.tornado(
            f"tornado-{named}", rows=moving[:MOST_DRIVERS], net_present_value=first["net_present_value"],
            csv=files["roi-tornado"],
        )  # fmt: skip
    drawn_table = drivers_table = None
    if drawn:
        drawn_table = table(
            f"Net present value and return over the draws, {first['currency']}", _DRAWN, _based(drawn, _DRAWN),
            csv=files["roi-draws"], source=DRAWS,
        )  # fmt: skip
    if drivers:
        drivers_table = table(
            "Each assumption at the ends of its range, the others at their value", _DRIVERS, drivers[:MOST_DRIVERS],
            len(drivers), csv=files["roi-tornado"], source=DRIVERS,
        )  # fmt: skip
    return {"histogram": histogram, "tornado": tornado, "drawn": drawn_table, "drivers": drivers_table}


def _ledger(workshop: Workshop, estimate_id: str, files: dict[str, str]) -> dict[str, Any]:
    inputs = _found(workshop, INPUTS, estimate_id, "is_supported, input_id")
    if not inputs:
        return {"ledger": None, "effects": None, "unsupported": 0, "assumptions": 0}
    effects = [
        {**row, "href": f"significance.html#{slug(row['comparison_id'])}"} for row in inputs if row["comparison_id"]
    ]
    shown = [{**row, "distribution": row["distribution"].replace("_", " ")} for row in inputs]
    csv = files["roi-inputs"]
    return {
        "ledger": table("Assumptions, the unsupported first", _LEDGER, shown, csv=csv, source=INPUTS),
        "effects": table("Effects taken from comparisons", _EFFECTS, effects, csv=csv, source=INPUTS)
        if effects else None,
        "unsupported": sum(not row["is_supported"] for row in inputs),
        "assumptions": len(inputs),
    }  # fmt: skip


def _cash_table(lines: Sequence[Row], currency: str, csv: str) -> Table:
    """A row a line, a column a year; sums carry the ids of all rows that they add up."""
    years = sorted({row["year"] for row in lines})
    columns = (
        Column("label", "Line", "wide"),
        Column("kind", "Kind"),
        *(Column("amount", f"Year {year}", "money") for year in years),
        Column("present_value", "Present value", "money"),
    )
    names = dict.fromkeys(row["line_id"] for row in lines)
    rows = [_cash_row([row for row in lines if row["line_id"] == name], years) for name in names]
    sums = (
        ("All costs", [row for row in lines if row["kind"] == "cost"]),
        ("All benefits", [row for row in lines if row["is_credited"] and row["kind"] != "cost"]),
        ("Net", [row for row in lines if row["is_credited"]]),
    )
    totals = [_cash_row(mine, years, label) for label, mine in sums if mine]
    caption = f"Cash flow by year, {currency}; the last column is discounted"
    return Table(caption, columns, (*rows, *totals), len(rows), csv, LINES[0])


def _cash_row(mine: Sequence[Row], years: Sequence[int], total: str | None = None) -> tuple[Cell, ...]:
    signed = [{**row, **_signed(row)} for row in mine] if total == "Net" else mine
    in_years = [[row for row in signed if row["year"] == year] for year in years]
    head = [Cell(total, "text"), Cell(DASH, "text")] if total else [_text(mine[0], "label"), _text(mine[0], "kind")]
    amounts = [_sum(rows, "amount") for rows in in_years]
    return (*head, *amounts, _sum(signed, "present_value"))


def _signed(row: Row) -> Row:
    sign = -1 if row["kind"] == "cost" else 1
    return {"amount": sign * row["amount"], "present_value": sign * row["present_value"]}


def _text(row: Row, key: str) -> Cell:
    return cell(Column(key, ""), row)


def _sum(rows: Sequence[Row], key: str) -> Cell:
    if not rows:
        return Cell(DASH, "text")
    added = {key: sum(row[key] for row in rows)}
    return replace(cell(Column(key, "", "money"), added), ids="\n".join(row["roi_line_id"] for row in rows))
