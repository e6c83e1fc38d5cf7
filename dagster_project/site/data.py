"""data.html: what was loaded and what was refused, with examples. Every count here comes from the ledger."""

from __future__ import annotations

from dagster_project.site.tables import Column, table
from dagster_project.site.workshop import Workshop

MOST_LOADS = 100
EXAMPLES = 3

LOADS = """
select
    l.load_id, l.source, l.format, l.path, l.status, l.file_bytes, l.records_read, l.records_landed, l.records_rejected,
    l.records_repeated, left(l.sha256, 12) as sha256, l.message, l.duplicate_of, l.superseded_by,
    len(l.unknown_fields) as unknown_fields
from marts.mart_load_summary as l
order by l.load_id desc limit $most
"""
ALL_LOADS = "select * from marts.mart_load_summary order by load_id"
REASONS = """
select q.reason, count(*) as records, count(distinct q.load_id) as files, min(l.format) as format
from audit.quarantine as q left join audit.loads as l using (load_id)
group by q.reason order by records desc, q.reason
"""
EXAMPLE_ROWS = """
select q.reason, l.path, q.line, q.record, q.detail, left(q.raw, 400) as raw
from audit.quarantine as q left join audit.loads as l using (load_id)
qualify row_number() over (partition by q.reason order by q.load_id, q.line, q.record nulls first) <= $examples
order by q.reason, q.load_id, q.line, q.record nulls first
"""
ALL_REFUSED = """
select q.load_id, l.path, q.line, q.record, q.reason, q.detail, q.raw
from audit.quarantine as q left join audit.loads as l using (load_id) order by all
"""
TOTALS = """
select
    count(*) as files, coalesce(sum(file_bytes), 0)::bigint as bytes, coalesce(sum(records_read), 0)::bigint as read,
    coalesce(sum(records_landed), 0)::bigint as landed, coalesce(sum(records_rejected), 0)::bigint as rejected,
    coalesce(sum(records_repeated), 0)::bigint as repeated, count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'duplicate') as duplicate
from marts.mart_load_summary where superseded_by is null
"""
BY_FORMAT = """
select
    source, format, count(*) as files, sum(file_bytes)::bigint as file_bytes, sum(records_read)::bigint as records_read,
    sum(records_landed)::bigint as records_landed, sum(records_rejected)::bigint as records_rejected,
    sum(records_repeated)::bigint as records_repeated
from marts.mart_load_summary where superseded_by is null group by all order by source, format
"""
UNKNOWN = """
select field, format, count(*) as files
from (select format, unnest(unknown_fields) as field from marts.mart_load_summary where superseded_by is null) as fields
group by all order by files desc, field, format limit 40
"""


def write(workshop: Workshop) -> None:
    """The page."""
    refused = workshop.csv("refused", ALL_REFUSED)
    reasons = workshop.rows(REASONS)
    totals = workshop.row(TOTALS)
    workshop.page(
        "data.html",
        "data.html.j2",
        current="data",
        totals=totals,
        formats=table("What was read, by source", _FORMATS, workshop.rows(BY_FORMAT)),
        loads=table(
            "Files, the newest first", _LOADS, workshop.rows(LOADS, most=MOST_LOADS), totals["files"],
            workshop.csv("loads", ALL_LOADS),
        ),
        reasons=table("Refused records by reason", _REASONS, reasons, csv=refused),
        examples=table(
            f"Up to {EXAMPLES} examples of each reason", _EXAMPLES, workshop.rows(EXAMPLE_ROWS, examples=EXAMPLES),
            sum(row["records"] for row in reasons), refused,
        ),
        unknown=table("Fields that the format does not define", _UNKNOWN, workshop.rows(UNKNOWN)),
    )  # fmt: skip


_FORMATS = (
    Column("source", "Source"),
    Column("format", "Format", "code"),
    Column("files", "Files", "count"),
    Column("file_bytes", "Bytes", "bytes"),
    Column("records_read", "Read", "count"),
    Column("records_landed", "Landed", "count"),
    Column("records_repeated", "Repeated", "count"),
    Column("records_rejected", "Refused", "count"),
)
_LOADS = (
    Column("load_id", "Load", "count"),
    Column("path", "File", "code"),
    Column("status", "Status", "verdict"),
    Column("superseded_by", "Gave way to load", "count"),
    Column("records_landed", "Landed", "count"),
    Column("records_rejected", "Refused", "count"),
    Column("sha256", "SHA-256 begins", "code"),
    Column("message", "Message", "wide"),
)
_REASONS = (
    Column("reason", "Reason", "code"),
    Column("format", "Format", "code"),
    Column("records", "Records", "count"),
    Column("files", "Files", "count"),
)
_EXAMPLES = (
    Column("reason", "Reason", "code"),
    Column("path", "File", "code"),
    Column("line", "Line", "count"),
    Column("record", "Record", "count"),
    Column("detail", "Detail", "wide"),
    Column("raw", "As it came", "code"),
)
_UNKNOWN = (Column("field", "Field", "code"), Column("format", "Format", "code"), Column("files", "Files", "count"))
