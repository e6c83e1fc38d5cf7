"""Verdicts over claims, by the document that makes them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from dagster_project.site.charts.figure import Figure, Values, axis, label, layout
from dagster_project.wording import visible

LINE = 26  # letters of a title beside a bar, before a new line
# The worst first. Hatches tell apart what colours do not.
VERDICTS = {
    "IMPOSSIBLE": ("var(--series-9)", "x"),
    "WRONG": ("var(--series-2)", ""),
    "INCONSISTENT": ("var(--series-5)", "/"),
    "MISLABELLED": ("var(--series-4)", ""),
    "NOT_COMPARABLE": ("var(--series-8)", "\\"),
    "UNSUPPORTED": ("var(--series-7)", "."),
    "OK": ("var(--series-3)", ""),
}


def verdicts_by_source(name: str, *, rows: Sequence[Values], csv: str) -> Figure:
    """A bar a document, a piece a verdict. `rows`: source, verdict, claims."""
    sources = list(dict.fromkeys(one["source"] for one in rows))
    counts = {(one["source"], one["verdict"]): one["claims"] for one in rows}
    names = ["<br>".join(map(label, textwrap.wrap(visible(source), LINE))) for source in sources]
    present = [verdict for verdict in VERDICTS if any((source, verdict) in counts for source in sources)]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": verdict.lower().replace("_", " "),
            "y": names,
            "x": [counts.get((source, verdict), 0) for source in sources],
            "text": [str(counts.get((source, verdict), "")) for source in sources],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "hovertemplate": f"%{{y}}: %{{x}} {verdict.lower().replace('_', ' ')}<extra></extra>",
            "marker": {
                "color": VERDICTS[verdict][0],
                "pattern": {
                    "shape": VERDICTS[verdict][1],
                    "fillmode": "overlay",
                    "fgcolor": "var(--paper)",
                    "size": 6,
                    "solidity": 0.2,
                },
                "line": {"width": 1, "color": "var(--paper)"},
            },
        }
        for verdict in present
    ]
    spec = {
        "data": data,
        "layout": layout(
            barmode="stack",
            bargap=0.35,
            margin={"l": 8, "r": 12, "t": 30, "b": 40},
            # A number that does not fit into its piece is left to the pointer, and to the counts above.
            uniformtext={"minsize": 10, "mode": "hide"},
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
            xaxis=axis(title={"text": "claims"}, tickformat=",d", nticks=8),
            yaxis=axis(type="category", automargin=True, autorange="reversed", showgrid=False, ticklen=0),
            meta={"narrow": {"yaxis.tickfont.size": 10, "xaxis.nticks": 4}, "extra": 19 * len(present)},
        ),
    }
    summary = "; ".join(f"{one['source']}: {one['claims']} {one['verdict']}" for one in rows)
    caption = "What recomputing each numeric claim gave, by the document that makes it."
    return Figure(name, summary, caption, csv, spec, f"{max(12, 8 + 2.6 * len(sources)):g}rem")
