"""What landing refuses, and why: the reasons, one refusal, and writing refusals to `audit.quarantine`.

Deciding that something is refused is the business of the formats in `sources/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import duckdb

RAW_LIMIT = 4096  # bytes of the refused text that are kept: enough to find it again, small enough for a bad night
LINE_KEPT_BYTES = 4 << 20  # of a refused line in the folder; a longer one is found in its file, by its offset
FOLDER_LIMIT_BYTES = 64 << 20  # of a load in the folder: a file that is broken throughout must not fill the disk


class Reason(StrEnum):
    """Why a line or a record was refused. The codes are stored; never rename one."""

    # a whole file
    MOSTLY_REFUSED = "mostly_refused"  # so much was refused that nothing was loaded; stands for all that was good
    # a stretch of the file
    TRUNCATED_GZIP = "truncated_gzip"  # the compressed stream ends early; whole lines before the break have landed
    CORRUPT_GZIP = "corrupt_gzip"  # the compressed stream is damaged; whole lines before the damage have landed
    CORRUPT_ZSTD = "corrupt_zstd"  # the compressed stream ends early or is damaged; whole lines before have landed
    CORRUPT_ZIP = "corrupt_zip"  # a damaged zip, or one of several files
    CORRUPT_PARQUET = "corrupt_parquet"  # a Parquet file, or a row group of one, whose bytes are damaged
    # a line, or a whole document
    NOT_JSON = "not_json"
    NOT_PROTOBUF = "not_protobuf"  # bytes that are no message of the format
    MESSAGE_TRUNCATED = "message_truncated"  # the file ends inside a message; whole messages before have landed
    NOT_UTF8 = "not_utf8"
    LINE_TOO_LONG = "line_too_long"
    OTHER_FORMAT = "other_format"  # good JSON without the field that makes it this format
    STRUCTURE = "structure"  # a list where an object belongs, and the like; nothing below it can be read
    ROW_MALFORMED = "row_malformed"  # a CSV row with too few or too many columns
    # a record
    FIELD_MALFORMED = "field_malformed"
    ATTRIBUTE_MALFORMED = "attribute_malformed"
    ENUM_UNKNOWN = "enum_unknown"
    ID_MISSING = "id_missing"
    TRACE_ID_MISSING = "trace_id_missing"
    TRACE_ID_MALFORMED = "trace_id_malformed"
    TRACE_ID_ZERO = "trace_id_zero"
    SPAN_ID_MISSING = "span_id_missing"
    SPAN_ID_MALFORMED = "span_id_malformed"
    SPAN_ID_ZERO = "span_id_zero"
    PARENT_SPAN_ID_MALFORMED = "parent_span_id_malformed"
    TIME_MISSING = "time_missing"
    TIME_MALFORMED = "time_malformed"
    TIME_OUT_OF_RANGE = "time_out_of_range"  # not from 2000 to 2100: a clock that was never set, or a wrong unit
    ENDS_BEFORE_START = "ends_before_start"
    VALUE_MALFORMED = "value_malformed"


@dataclass(frozen=True)
class Refusal:
    """One line or record that does not land. `record` None: the line, or the rest of it, as a whole.

    `offset` is where the line begins in the decoded file and `line_bytes` how long it is, `kept_in` the file below the
    quarantine folder that has all of it; None where not known.
    """

    line: int
    record: int | None
    reason: str
    detail: str
    raw: str | None
    offset: int | None = None
    line_bytes: int | None = None
    kept_in: str | None = None


def clipped(raw: bytes | str | None) -> str | None:
    """The first `RAW_LIMIT` bytes as text that DuckDB takes: cut between characters, bad bytes shown as U+FFFD."""
    if raw is None:
        return None
    head = raw.encode(errors="replace")[:RAW_LIMIT] if isinstance(raw, str) else raw[:RAW_LIMIT]
    return head.decode(errors="replace").encode()[:RAW_LIMIT].decode(errors="ignore")


def write(connection: duckdb.DuckDBPyConnection, load_id: int, refusals: Sequence[Refusal]) -> None:
    """Append refusals of one load to `audit.quarantine`, within the caller's transaction."""
    if not refusals:
        return
    columns = [
        [refusal.line for refusal in refusals],
        [refusal.record for refusal in refusals],
        [str(refusal.reason) for refusal in refusals],
        [clipped(refusal.detail) for refusal in refusals],
        [clipped(refusal.raw) for refusal in refusals],
        [refusal.offset for refusal in refusals],
        [refusal.line_bytes for refusal in refusals],
        [refusal.kept_in for refusal in refusals],
    ]
    connection.execute(_INSERT, [load_id, *columns]).fetchall()


_INSERT = """
    insert into audit.quarantine (load_id, line, record, reason, detail, raw, byte_offset, raw_bytes, raw_file)
    select
        ?, unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::varchar[]),
        unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::varchar[])
"""


def share_refused(connection: duckdb.DuckDBPyConnection, load_id: int) -> float | None:
    """The share of its records for which nothing of a load landed; None when it failed for another reason."""
    ((is_it, share),) = connection.execute(
        "select count(*) filter (reason = $mostly) > 0,"
        " count(*) filter (reason <> $mostly) / (select records_read from audit.loads where load_id = $load)"
        " from audit.quarantine where load_id = $load",
        {"mostly": str(Reason.MOSTLY_REFUSED), "load": load_id},
    ).fetchall()
    return float(share) if is_it and share is not None else None


def withdrawn(connection: duckdb.DuckDBPyConnection) -> int:
    """How many good records did not land, of all files that were mostly refused: the ledger counts them as rejected."""
    ((records,),) = connection.execute(
        "select coalesce(sum(records_rejected - refused), 0) from audit.loads join ("
        " select load_id, count(*) filter (reason <> $mostly) as refused from audit.quarantine"
        " group by load_id having count(*) filter (reason = $mostly) > 0) using (load_id)"
        " where superseded_by is null",
        {"mostly": str(Reason.MOSTLY_REFUSED)},
    ).fetchall()
    return int(records)


class Folder:
    """Where refused lines are kept whole when the table cannot say them: too long for it, or no text.

    A file is named after the hash of the source file and the line: loading again writes the same file again.

    Parameters
    ----------
    root
        `data/quarantine/` of the project; None keeps nothing.
    sha256
        Of the file that is landed.
    """

    def __init__(self, root: Path | None, sha256: str) -> None:
        self._root = root
        self._name = sha256[:16]
        self._left = FOLDER_LIMIT_BYTES

    def keep(self, line: int, content: bytes) -> str | None:
        """Keep a refused line; the path below `root`, or None when the table says it all or the limits are reached."""
        is_said = len(content) <= RAW_LIMIT and _is_text(content)
        if self._root is None or is_said or not 0 < len(content) <= min(LINE_KEPT_BYTES, self._left):
            return None
        self._left -= len(content)
        kept_in = f"{self._name}/{line}.raw"
        path = self._root / kept_in
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return kept_in


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
