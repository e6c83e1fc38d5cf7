"""Tickets as rows of CSV become rows of `raw.tickets`: the row as it was sent, as texts, under the ticket's id.

Which columns the id and the times stand in, a ticket system's own module says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template

import pyarrow as pa

from dagster_project.sources.decoding import csv_rows
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal


@dataclass(frozen=True)
class Columns:
    """What a system's CSV says where.

    Parameters
    ----------
    system
        As in `raw.tickets`.
    ticket_id, required_at
        The columns of the id, and of the time that a row must have.
    times
        Further columns of times; a file may lack them, and a row may have none in them.
    time
        SQL for the time that a text says, null when it says none.
    shape
        What such a time looks like, for refusals.
    """

    system: str
    ticket_id: str
    required_at: str
    times: tuple[str, ...]
    time: Callable[[str], str]
    shape: str


MAPPED = "hindcast_fields"  # the key of a payload under which mapped columns stand


def batches(stream: ByteStream, columns: Columns, mapped: Mapping[str, str] | None = None) -> Iterator[Batch]:
    """Decode a file of rows.

    Parameters
    ----------
    mapped
        From Hindcast's name of a field to the file's column, as the source says; the values stand in the payload under
        `MAPPED`, and those whose name ends in `_at` are times.
    """
    for rows in csv_rows.rows(stream):
        spelled = {name.lower(): name for name in rows.names}
        needed = (columns.ticket_id, columns.required_at, *(mapped or {}).values())
        absent = [name for name in needed if name.lower() not in spelled]
        yield Batch(refusals=rows.refusals)
        if len(rows.line) and absent:
            refusal = Refusal(1, None, Reason.OTHER_FORMAT, f"no column {' or '.join(absent)}", None)
            yield Batch(refusals=[refusal])
            return
        if len(rows.line):
            found = {field: rows.row.field(spelled[name.lower()]) for field, name in (mapped or {}).items()}
            times = [each for each in columns.times if each.lower() in spelled]
            yield Batch(len(rows.line), _tables(rows, found), _select(columns, times, found), raw_of=rows.raw_of)


def _tables(rows: csv_rows.Rows, mapped: Mapping[str, pa.Array]) -> dict[str, pa.Table]:
    """The rows, with what is mapped as one more field of each; its times as columns of their own, too."""
    row = rows.row
    if mapped:
        extra = pa.StructArray.from_arrays(list(mapped.values()), names=list(mapped))
        row = pa.StructArray.from_arrays([*row.flatten(), extra], names=[*rows.names, MAPPED])
    times = {f"mapped_{field}": column for field, column in mapped.items() if field.endswith("_at")}
    return {"ticket_rows": pa.table({"line": rows.line, "row": row, **times})}


# An exported question mark is how ServiceNow says nothing.
_IS_NOTHING = "coalesce(trim({0}), '') in ('', '?')"
_SELECT = Template("""
    with sent as (
        select line, 1 as record, "row"."$ticket_id" as ticket_id, to_json("row") as payload, $columns
        from ticket_rows
    ),
    timed as (select *, $parsed from sent),
    judged as (select *, case $reasons end as problem from timed)
    select
        line, record, '$system' as system, ticket_id, payload,
        problem.reason as reason, problem.detail as detail
    from judged
""")


def _select(columns: Columns, times: Sequence[str], mapped: Collection[str]) -> str:
    """The names are the formats' own, never a file's or a source's."""
    sent = {name: f'"row"."{name}"' for name in (columns.required_at, *times)}
    sent |= {field: f"mapped_{field}" for field in mapped if field.endswith("_at")}
    reasons = [
        f"when {_IS_NOTHING.format('ticket_id')} then {_problem(Reason.ID_MISSING, columns.ticket_id, 'ticket_id')}",
        f"when {_IS_NOTHING.format('sent_0')} then {_problem(Reason.TIME_MISSING, columns.required_at, 'sent_0')}",
    ]
    for number, name in enumerate(sent):
        text, at = f"sent_{number}", f"at_{number}"
        reasons += [
            f"when not {_IS_NOTHING.format(text)} and {at} is null then "
            f"{_problem(Reason.TIME_MALFORMED, name, text, f', not {columns.shape}')}",
            f"when {at} < timestamp '{EARLIEST:%Y-%m-%d}' or {at} >= timestamp '{LATEST:%Y-%m-%d}' then "
            f"{_problem(Reason.TIME_OUT_OF_RANGE, name, text)}",
        ]
    return _SELECT.substitute(
        ticket_id=columns.ticket_id,
        system=columns.system,
        columns=", ".join(f"{column} as sent_{number}" for number, column in enumerate(sent.values())),
        parsed=", ".join(f"{columns.time(f'sent_{number}')} as at_{number}" for number in range(len(sent))),
        reasons=" ".join(reasons),
    )


def _problem(reason: Reason, name: str, column: str, hint: str = "") -> str:
    """SQL: a reason and its detail, such as `opened_at = "soon", not d/m/Y H:M`."""
    detail = f"""'{name} = "' || left(coalesce({column}, ''), 80) || '"{hint}'"""
    return f"struct_pack(reason := '{reason}', detail := {detail})"
