"""Records that span several lines: joining their parts, in bounded memory, across the blocks of a file.

Which lines are parts of one record, each format says.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.logs import log_records

JOINED_LIMIT_BYTES = 16 << 20  # of a record; a longer one is refused

# Parts: in each track (such as stdout) records follow each other. `goes_on`: the next line of the track may belong to
# the same record; `begins`: this one does not belong to the record before.
SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("track", pa.string()),
        ("begins", pa.bool_()),
        ("goes_on", pa.bool_()),
        ("time", pa.string()),
        ("message", pa.string()),
        ("extra", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)

_NUMBERED = """
    select *, number = max(number) over (partition by track)
        and last(goes_on) over (
            partition by track order by line rows between unbounded preceding and unbounded following) as is_open
    from (
        select *, sum(begins::integer) over (partition by track order by line rows unbounded preceding) as number
        from parts
    )
"""
_JOINED = """
    select min(line) as line, arg_min(time, line) as time, string_agg(message, $glue order by line) as message,
        arg_min(track, line) as track, arg_min(extra, line) as extra, arg_min(reason, line) as reason,
        arg_min(raw, line) as raw
    from numbered
    group by track, number
    order by line
"""
_ALONE = "select line, time, message, track, extra, reason, raw from numbered order by line"


@dataclass
class Joiner:
    """Joins the parts of one file; parts whose record may go on wait for the next block.

    Parameters
    ----------
    glue
        What stands between the parts of a record.
    """

    glue: str
    _waiting: pa.Table = field(default_factory=SCHEMA.empty_table)

    def joined(self, parts: pa.Table) -> pa.Table:
        """The records that end among these parts: `line`, of the first part, `time`, `message`, ….

        A record that has waited for too long is given as it is; whoever asks refuses it by its length.
        """
        parts = pa.concat_tables([self._waiting, parts.select(SCHEMA.names).cast(SCHEMA)]).combine_chunks()
        numbered = log_records.run(_NUMBERED, {"parts": parts})
        is_open = numbered.column("is_open")
        waiting = numbered.filter(is_open).select(SCHEMA.names).cast(SCHEMA)
        if (pc.sum(pc.binary_length(waiting.column("message"))).as_py() or 0) <= JOINED_LIMIT_BYTES:
            self._waiting = waiting
            numbered = numbered.filter(pc.invert(is_open))
        else:
            self._waiting = SCHEMA.empty_table()
        return self._records(numbered)

    def rest(self) -> pa.Table | None:
        """The records that were open when the file ended; None when there are none."""
        if not self._waiting.num_rows:
            return None
        numbered = log_records.run(_NUMBERED, {"parts": self._waiting})
        self._waiting = SCHEMA.empty_table()
        return self._records(numbered)

    def _records(self, numbered: pa.Table) -> pa.Table:
        if pc.all(numbered.column("begins")).as_py() is not False:
            return log_records.run(_ALONE, {"numbered": numbered})
        return log_records.run(_JOINED, {"numbered": numbered}, {"glue": self.glue})


def too_long(column: str) -> str:
    """SQL: the reason for which a joined text is refused, null when it is none."""
    return f"case when strlen({column}) > {JOINED_LIMIT_BYTES} then 'line_too_long' end"
