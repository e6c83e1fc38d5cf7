"""What the marts of estimates hold: names, types and descriptions of their columns. `marts.py` fills them."""

from __future__ import annotations

import pyarrow as pa

from dagster_project.statistics.columns import FLAG, NUMBER, TEXT, TEXTS, WHOLE, described

_ESTIMATE = described("estimate_id", TEXT, "Id of the estimate", nullable=False)
_BASIS = described("basis", TEXT, "all_lines, or labour_only: nothing prevented, no downtime saved", nullable=False)
_CURRENCY = described("currency", TEXT, "ISO 4217 code", nullable=False)

ROI_LINES_SCHEMA = pa.schema(
    [
        described("roi_line_id", TEXT, "Id of the row: estimate, basis, line, year", nullable=False),
        _ESTIMATE,
        _BASIS,
        described("position", WHOLE, "Order of the line in the table, from 1", nullable=False),
        described("line_id", TEXT, "Id of the line", nullable=False),
        described("kind", TEXT, "cost, benefit or transfer (listed, not credited)", nullable=False),
        described("label", TEXT, "What the line is", nullable=False),
        described("formula", TEXT, "How one year's amount comes about, with its numbers", nullable=False),
        described("year", WHOLE, "0 before anything runs, then 1, 2, ...", nullable=False),
        described("amount", NUMBER, "Amount of that year, costs positive", nullable=False),
        described("present_value", NUMBER, "The amount discounted to year 0", nullable=False),
        described("calculation", TEXT, "This year's amount and its discount, spelled for a calculator", nullable=False),
        _CURRENCY,
        described("is_credited", FLAG, "Whether the line enters the result", nullable=False),
        described("inputs", TEXTS, "Inputs that the amount rests on", nullable=False),
        described("unsupported_inputs", TEXTS, "Those among them that nothing supports", nullable=False),
    ],
    metadata={"description": "One row a line and year of a return-on-investment estimate"},
)

ROI_SUMMARY_SCHEMA = pa.schema(
    [
        described("roi_summary_id", TEXT, "Id of the row: estimate, basis", nullable=False),
        _ESTIMATE,
        described("title", TEXT, "What is estimated", nullable=False),
        _BASIS,
        described("plan_sha256", TEXT, "Hash of all assumptions, defaults included", nullable=False),
        _CURRENCY,
        described("years", WHOLE, "Length of the estimate", nullable=False),
        described("discount_rate", NUMBER, "A year's discount; year 0 is undiscounted", nullable=False),
        described("present_costs", NUMBER, "Present value of costs", nullable=False),
        described("present_benefits", NUMBER, "Present value of benefits", nullable=False),
        described("net_present_value", NUMBER, "Benefits minus costs", nullable=False),
        described("roi", NUMBER, "(benefits - costs) / costs, of present values; null without costs"),
        described("benefit_cost_ratio", NUMBER, "benefits / costs, of present values; one more than the ROI"),
        described("irr", NUMBER, "Internal rate of return; null when there is none or more than one"),
        described("payback_months", NUMBER, "Months from first spend, undiscounted; null when never within the years"),
        described("break_even_share", NUMBER, "Share of the assumed effects at which NPV is 0; null when none is"),
        described("break_even_incidents", NUMBER, "Incidents a year at which NPV is 0; null when no count is"),
        described("stated_ratio", NUMBER, "The return that the source itself states, as times"),
        described("stated_benefit_cost_ratio", NUMBER, "The source's own yearly benefits over its yearly costs"),
        described("stated_roi", NUMBER, "What the source's own figures give as a return: one less than that"),
        described("stated_sentence", TEXT, "The stated return beside what its figures give; null when none is stated"),
        described("transfers_not_credited", NUMBER, "Undiscounted sum of transfers over all years", nullable=False),
        described("input_count", WHOLE, "Inputs that the result rests on", nullable=False),
        described("unsupported_inputs", TEXTS, "Those among them that nothing supports", nullable=False),
        described("sentence", TEXT, "The result in one plain sentence", nullable=False),
        described("caveats", TEXTS, "What must be known beside it", nullable=False),
    ],
    metadata={"description": "One row an estimate and basis"},
)

ROI_INPUTS_SCHEMA = pa.schema(
    [
        described("roi_input_id", TEXT, "Id of the row: estimate, input", nullable=False),
        _ESTIMATE,
        described("input_id", TEXT, "Dotted name of the input in the file", nullable=False),
        described("value", NUMBER, "Its value", nullable=False),
        described("unit", TEXT, "Its unit", nullable=False),
        described("low", NUMBER, "Lower end of what is plausible"),
        described("high", NUMBER, "Upper end of what is plausible"),
        described("source", TEXT, "Where it comes from", nullable=False),
        described("dated_on", pa.date32(), "Day the figure is of; null when its source gives none"),
        described("confidence", TEXT, "measured, published, estimated, claimed or unsupported", nullable=False),
        described("is_supported", FLAG, "False when it is only claimed, or rests on no shown effect", nullable=False),
        described("distribution", TEXT, "fixed, triangular, log_normal or triangular_log_normal", nullable=False),
        described("comparison_id", TEXT, "Comparison that its effect is taken from; null when it has none"),
        described("comparison_verdict", TEXT, "Verdict of that comparison, or NOT_FOUND"),
        described("effect_ratio", NUMBER, "Ratio that the value is multiplied by, or its complement; 1 when refused"),
        described("effect_low", NUMBER, "Lower end of the ratio's interval; null when the effect is refused"),
        described("effect_high", NUMBER, "Upper end of the ratio's interval; null when the effect is refused"),
        described("effective_value", NUMBER, "The value with its effect: what the lines use", nullable=False),
    ],
    metadata={"description": "One row an assumption"},
)

ROI_DRAWS_SCHEMA = pa.schema(
    [
        described("roi_draws_id", TEXT, "Id of the row: estimate, basis", nullable=False),
        _ESTIMATE,
        _BASIS,
        _CURRENCY,
        described("draws", WHOLE, "Draws made", nullable=False),
        described("seed", WHOLE, "Seed of the draws", nullable=False),
        described("drawn_count", WHOLE, "Drivers that were drawn and matter on this basis", nullable=False),
        described("fixed_count", WHOLE, "Inputs without a range, held at their value", nullable=False),
        described("npv_p05", NUMBER, "NPV that 5 % of draws stay below", nullable=False),
        described("npv_p50", NUMBER, "Median NPV of the draws", nullable=False),
        described("npv_p95", NUMBER, "NPV that 95 % of draws stay below", nullable=False),
        described("npv_mean", NUMBER, "Mean NPV of the draws", nullable=False),
        described("roi_p05", NUMBER, "ROI that 5 % of draws stay below; null without costs"),
        described("roi_p50", NUMBER, "Median ROI of the draws; null without costs"),
        described("roi_p95", NUMBER, "ROI that 95 % of draws stay below; null without costs"),
        described("probability_npv_negative", NUMBER, "Share of draws with an NPV below 0; null when nothing is drawn"),
        described("probability_roi_negative", NUMBER, "Share of draws with an ROI below 0; null without costs, too"),
        described("sentence", TEXT, "What the draws say, in one plain sentence", nullable=False),
    ],
    metadata={"description": "One row an estimate and basis: the distribution of its net present value"},
)

ROI_HISTOGRAM_SCHEMA = pa.schema(
    [
        described("roi_bin_id", TEXT, "Id of the row: estimate, basis, bin", nullable=False),
        _ESTIMATE,
        _BASIS,
        described("bin", WHOLE, "Number of the bin, from 1", nullable=False),
        described("npv_from", NUMBER, "Lower end of the bin", nullable=False),
        described("npv_to", NUMBER, "Upper end; the last bin holds it, others do not", nullable=False),
        described("draw_count", WHOLE, "Draws whose NPV lies in the bin", nullable=False),
        described("draw_share", NUMBER, "The same as a share of all draws", nullable=False),
    ],
    metadata={"description": "One row a bin of the histogram of drawn net present values"},
)

ROI_TORNADO_SCHEMA = pa.schema(
    [
        described("roi_tornado_id", TEXT, "Id of the row: estimate, basis, driver", nullable=False),
        _ESTIMATE,
        _BASIS,
        described("position", WHOLE, "Order, from 1: the widest swing first", nullable=False),
        described("driver_id", TEXT, "Input, or `effect.<comparison>.<measure>`", nullable=False),
        described("unit", TEXT, "Unit of value, low and high", nullable=False),
        described("value", NUMBER, "Where the estimate has it", nullable=False),
        described("low", NUMBER, "Lower end of its range or interval", nullable=False),
        described("high", NUMBER, "Upper end of its range or interval", nullable=False),
        described("npv_at_low", NUMBER, "NPV with it at its low, all others at their value", nullable=False),
        described("npv_at_high", NUMBER, "NPV with it at its high, all others at their value", nullable=False),
        described("swing", NUMBER, "Distance between the two", nullable=False),
        described("break_even_value", NUMBER, "Where NPV is 0, all others at their value; null when nowhere"),
        described("is_supported", FLAG, "False when nothing supports it", nullable=False),
        _CURRENCY,
    ],
    metadata={"description": "One row a driver of the net present value that has a range: the tornado"},
)
