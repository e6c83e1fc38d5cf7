"""What `marts.claims_audit` holds: names, types and descriptions of its columns. `audit.py` fills it."""

from __future__ import annotations

import pyarrow as pa

from dagster_project.statistics.columns import NUMBER, TEXT, WHOLE, described

INPUTS = pa.list_(pa.struct([("name", TEXT), ("value", TEXT), ("unit", TEXT), ("line", WHOLE), ("source", TEXT)]))

CLAIMS_AUDIT_SCHEMA = pa.schema(
    [
        described("claim_id", TEXT, "Id of the row: deck, claim", nullable=False),
        described("deck_id", TEXT, "Deck that the claim is in: name of its file", nullable=False),
        described("position", WHOLE, "Order of the claim in its deck, from 1", nullable=False),
        described("claim", TEXT, "What is claimed, in our own words", nullable=False),
        described("source", TEXT, "Title of the document", nullable=False),
        described("line", WHOLE, "Line of the document that states it", nullable=False),
        described("stated", TEXT, "The stated figure with its unit", nullable=False),
        described("stated_value", NUMBER, "The stated figure; null when it is no single number"),
        described("stated_unit", TEXT, "Its unit", nullable=False),
        described("check", TEXT, "Check that was run", nullable=False),
        described("inputs", INPUTS, "What the check was given, each with the line that states it", nullable=False),
        described("formula", TEXT, "What was computed, with its numbers; empty when nothing could be", nullable=False),
        described("recomputed", TEXT, "What came of it, with its unit; null when nothing could be computed"),
        described(
            "recomputed_value", NUMBER, "The same as a number, in the unit of `recomputed`; null when it is none"
        ),
        described("tolerance", NUMBER, "How far stated and recomputed may lie apart, in the stated unit"),
        described(
            "verdict",
            TEXT,
            "OK, WRONG, INCONSISTENT, MISLABELLED, UNSUPPORTED, NOT_COMPARABLE or IMPOSSIBLE",
            nullable=False,
        ),
        described("reason", TEXT, "Why the check says so, in one sentence", nullable=False),
        described("note", TEXT, "What the auditor adds; empty when nothing", nullable=False),
    ],
    metadata={"description": "One row a numeric claim of a document, recomputed"},
)
