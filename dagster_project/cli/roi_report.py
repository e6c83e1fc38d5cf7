"""An estimate of return as sections: cash flow, worth, distribution, tornado, ledger. Numbers are the rows of marts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_project.cli.sections import Section, bar

Row = Mapping[str, Any]
Rows = Sequence[Row]
BAR_WIDTH = 40
TORNADO_WIDTH = 24  # each side


def sections(estimate: str, marts: Mapping[str, Rows]) -> list[Section]:
    """Everything that is known of one estimate, in the order in which a reader asks."""
    own = {name: [row for row in rows if row["estimate_id"] == estimate] for name, rows in marts.items()}
    whole = own["summary"][0]
    stated = [whole["stated_sentence"]] if whole["stated_sentence"] else []
    return [
        Section(
            f"{whole['title']} ({estimate}, in {whole['currency']})",
            [*(row["sentence"] for row in own["summary"]), *stated, *whole["caveats"]],
        ),
        _cash_flow([row for row in own["lines"] if row["basis"] == "all_lines"], whole),
        _formulas([row for row in own["lines"] if row["basis"] == "all_lines"]),
        _worth(own["summary"]),
        _distribution(own["draws"], [row for row in own["histogram"] if row["basis"] == "all_lines"]),
        _tornado([row for row in own["tornado"] if row["basis"] == "all_lines"], whole),
        _ledger(own["inputs"]),
    ]


def money(value: float | None) -> str:
    """An amount without cents, or a dash."""
    return "-" if value is None else f"{value:,.0f}"


def _cash_flow(lines: Rows, whole: Row) -> Section:
    years = range(whole["years"] + 1)
    rows: list[list[str]] = []
    for kind, name in (("cost", "All costs"), ("benefit", "All benefits"), ("transfer", None)):
        of_kind = [row for row in lines if row["kind"] == kind]
        for line in dict.fromkeys(row["line_id"] for row in of_kind):
            by_year = [row for row in of_kind if row["line_id"] == line]
            label = by_year[0]["label"] + ("" if name else " (not credited)")
            rows.append([label, *_amounts(by_year, years)])
        if name:
            rows.append([name, *_amounts(of_kind, years)])
    credited = [
        {**row, "amount": sign * row["amount"], "present_value": sign * row["present_value"]}
        for row in lines
        if (sign := {"cost": -1, "benefit": 1}.get(row["kind"], 0))
    ]
    rows.append(["Net", *_amounts(credited, years)])
    headings = ["Line", *(f"Year {year}" for year in years), "Total", "Present value"]
    title = f"Cash flow, discounted by {100 * whole['discount_rate']:.4g} % a year; year 0 is not"
    return Section(title, (), headings, rows, numbers=frozenset(range(1, len(headings))))


def _amounts(rows: Rows, years: range) -> list[str]:
    by_year = [sum(row["amount"] for row in rows if row["year"] == year) for year in years]
    return [*map(money, by_year), money(sum(by_year)), money(sum(row["present_value"] for row in rows))]


def _formulas(lines: Rows) -> Section:
    rows = [[row["label"], row["formula"]] for row in lines if row["year"] == 0]
    return Section("A year's amount, for a calculator", (), ["Line", "Formula"], rows)


def _worth(summary: Rows) -> Section:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:,.1%}"

    def plain(value: float | None) -> str:
        return "-" if value is None else f"{value:,.2f}"

    names = (
        ("Present value of costs", "present_costs", money),
        ("Present value of benefits", "present_benefits", money),
        ("Net present value", "net_present_value", money),
        ("Return (benefits - costs) / costs", "roi", share),
        ("Benefits / costs", "benefit_cost_ratio", plain),
        ("Internal rate of return", "irr", share),
        ("Payback, months", "payback_months", plain),
        ("Break-even: share of the effects", "break_even_share", share),
        ("Break-even: incidents a year", "break_even_incidents", plain),
    )
    rows = [[label, *(shown(row[name]) for row in summary)] for label, name, shown in names]
    return Section("What it is worth", (), ["", *map(_basis, summary)], rows, numbers=frozenset({1, 2}))


def _basis(row: Row) -> str:
    return "All lines" if row["basis"] == "all_lines" else "Labour only"


def _distribution(draws: Rows, bins: Rows) -> Section:
    headings = ["Basis", "P5", "P50", "P95", "P(NPV < 0)", "P(ROI < 0)"]
    chances = ("probability_npv_negative", "probability_roi_negative")
    rows = [
        [
            _basis(row),
            *(money(row[name]) for name in ("npv_p05", "npv_p50", "npv_p95")),
            *("-" if row[name] is None else f"{row[name]:.1%}" for name in chances),
        ]
        for row in draws
    ]
    most = max((row["draw_count"] for row in bins), default=1)
    drawing = [
        f"{money(row['npv_from']):>16} {bar(row['draw_count'] / most, BAR_WIDTH):{BAR_WIDTH}} {row['draw_count']:,}"
        for row in bins
    ]
    first = draws[0]
    title = f"Net present value of {first['draws']:,} draws (seed {first['seed']})"
    return Section(title, [row["sentence"] for row in draws[:1]], headings, rows, drawing if len(bins) > 1 else ())


def _tornado(rows: Rows, whole: Row) -> Section:
    centre = whole["net_present_value"]
    widest = max((abs(row[end] - centre) for row in rows for end in ("npv_at_low", "npv_at_high")), default=0.0)
    drawing = []
    for row in rows:
        ends = sorted((row["npv_at_low"], row["npv_at_high"]))
        left = bar((centre - ends[0]) / widest if widest else 0, TORNADO_WIDTH)
        right = bar((ends[1] - centre) / widest if widest else 0, TORNADO_WIDTH)
        drawing.append(f"{left:>{TORNADO_WIDTH}}│{right:{TORNADO_WIDTH}} {row['driver_id']}")
    headings = ["Driver", "Low", "Value", "High", "Unit", "NPV at low", "NPV at high", "NPV is 0 at"]
    table = [
        [
            row["driver_id"],
            *(f"{row[name]:,.4g}" for name in ("low", "value", "high")),
            row["unit"],
            *(money(row[name]) for name in ("npv_at_low", "npv_at_high")),
            "-" if row["break_even_value"] is None else f"{row['break_even_value']:,.4g}",
        ]
        for row in rows
    ]
    said = [] if rows else ["No input has a range."]
    marked = frozenset(place for place, row in enumerate(rows) if not row["is_supported"])
    return Section(
        f"What it hangs on: NPV {money(centre)} and each driver alone", said, headings, table, drawing, marked
    )


def _ledger(inputs: Rows) -> Section:
    rows = [
        [
            row["input_id"],
            f"{row['value']:,.10g} {row['unit']}",
            _range(row),
            row["source"],
            "-" if row["dated_on"] is None else f"{row['dated_on']}",
            row["confidence"],
            "yes" if row["is_supported"] else "NO",
        ]
        for row in inputs
    ]
    marked = frozenset(place for place, row in enumerate(inputs) if not row["is_supported"])
    weak = len(marked)
    said = [f"{weak} of {len(rows)} inputs are not supported."]
    headings = ["Input", "Value", "Drawn from", "Source", "Date", "Confidence", "Supported"]
    return Section("Assumptions", said, headings, rows, (), marked)


def _range(row: Row) -> str:
    if row["comparison_id"] is not None:
        if row["effect_low"] is None:
            return f"refused: {row['comparison_id']} is {row['comparison_verdict']}"
        interval = f"{row['effect_ratio']:.3g} ({row['effect_low']:.3g} to {row['effect_high']:.3g})"
        return f"ratio {interval} of {row['comparison_id']}, {row['comparison_verdict']}"
    if row["distribution"] == "fixed":
        return "fixed"
    low, high = (row["value"] if row[end] is None else row[end] for end in ("low", "high"))
    return f"{low:,.10g} to {high:,.10g}, triangular"
