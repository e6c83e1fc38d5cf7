"""Lists the artefacts of one run as rows of evidence: what was read, what judged it, what came out.

Hash chain, Merkle tree, signing and export build on these rows and are not here. No row holds a time of collection, nor
the generation that publishes it: the same run gives the same rows, and the generation is named after what is in it.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlglot import exp

NAMESPACE = uuid.UUID("6f0b6c5e-93a5-5d0c-8a37-5f2f1c1b7f10")
"""Of the evidence ids; changing it changes every id."""


class ArtefactType(StrEnum):
    """What kind of artefact a row is of; their order is the order of the rows: in, rules, out."""

    SOURCE = "source"
    RULE = "rule"
    CONFIGURATION = "configuration"
    TABLE = "table"
    POST_MORTEM = "post_mortem"
    REPORT = "report"


class ArtefactMissing(FileNotFoundError):
    """A file that a run says it made or used is not there, so that no evidence of it can be given."""


@dataclass(frozen=True)
class Artefact:
    """One thing to be listed. `path` is read for its hash unless `sha256` and `bytes` are known already."""

    type: ArtefactType
    name: str
    path: Path
    incident_id: str | None = None
    rule_id: str | None = None
    controls: tuple[str, ...] = field(default=())
    row_count: int | None = None
    sha256: str | None = None
    bytes: int | None = None


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


EVIDENCE_SCHEMA = pa.schema(
    [
        _column("seq", pa.int64(), "Order of the row, from 1 without gaps", nullable=False),
        _column("id", pa.string(), "UUIDv5 of type, path and hash: new bytes are new evidence", nullable=False),
        _column("type", pa.string(), "source, rule, configuration, table, post_mortem or report", nullable=False),
        _column("name", pa.string(), "What people call it", nullable=False),
        _column("controls", pa.list_(pa.string()), "Controls that it is evidence for", nullable=False),
        _column("incident_id", pa.string(), "Incident that it is about"),
        _column("rule_id", pa.string(), "Rule that it is, or is about"),
        _column(
            "source_path", pa.string(), "Path from the project's folder; a table's has its name after #", nullable=False
        ),
        _column("source_sha256", pa.string(), "SHA-256 of its bytes; of a table see `tables`", nullable=False),
        _column("bytes", pa.int64(), "Length of what was hashed", nullable=False),
        _column("row_count", pa.int64(), "Rows or records in it, where it has such"),
    ],
    metadata={"description": "One row an artefact of a run"},
)


def evidence(artefacts: Iterable[Artefact], *, root: Path) -> pa.Table:
    """Rows of `marts.mart_evidence`.

    Parameters
    ----------
    artefacts
        In any order; the same bytes at the same path are listed once a type. A path that held other bytes on another
        day is listed once for each, because each was read.
    root
        The project's folder, which paths are made relative to.

    Raises
    ------
    ArtefactMissing
        Names the file that is not there.
    """
    unique = {(each.type, _relative(each.path, root), *_measured(each)): each for each in artefacts}
    order = {kind: place for place, kind in enumerate(ArtefactType)}
    rows = []
    for seq, key in enumerate(sorted(unique, key=lambda key: (order[key[0]], *key[1:])), start=1):
        (kind, path, sha256, size), each = key, unique[key]
        rows.append(
            {
                "seq": seq,
                "id": str(uuid.uuid5(NAMESPACE, f"{kind.value}\n{path}\n{sha256}")),
                "type": kind.value,
                "name": each.name,
                "controls": sorted(each.controls),
                "incident_id": each.incident_id,
                "rule_id": each.rule_id,
                "source_path": path,
                "source_sha256": sha256,
                "bytes": size,
                "row_count": each.row_count,
            }
        )
    return pa.Table.from_pylist(rows, schema=EVIDENCE_SCHEMA)


def collect(
    connection: duckdb.DuckDBPyConnection,
    *,
    root: Path,
    warehouse_file: Path,
    rules_root: Path,
    post_mortems: Mapping[str, Sequence[Path]],
    configuration: Iterable[Path] = (),
    reports: Iterable[Path] = (),
) -> pa.Table:
    """Evidence of one run, from where a project keeps things.

    Parameters
    ----------
    connection
        Knows `audit.loads`, the tables of `marts` and `violations`, and in `marts.dim_rules` rule_id, title, file,
        file_sha256, file_bytes and controls.
    rules_root
        Folder that `dim_rules.file` is relative to.
    post_mortems
        Files of each incident by its id.
    configuration, reports
        Further files to list; those of `configuration` that do not exist are left out, since each has a default.
    """
    artefacts = [
        *loaded_files(connection, root),
        *rules(connection, rules_root),
        *(Artefact(ArtefactType.CONFIGURATION, path.name, path) for path in configuration if path.is_file()),
        *tables(connection, warehouse_file),
        *(
            Artefact(ArtefactType.POST_MORTEM, f"Post-mortem of {incident} ({path.suffix.lstrip('.')})", path, incident)
            for incident, paths in post_mortems.items()
            for path in paths
        ),
        *(Artefact(ArtefactType.REPORT, path.name, path) for path in reports),
    ]
    return evidence(artefacts, root=root)


def loaded_files(connection: duckdb.DuckDBPyConnection, root: Path) -> list[Artefact]:
    """Every file that the ledger says was read and used, with the hash taken when it was read.

    The file itself may be gone since, as landing folders are emptied; the ledger is what stands for it.
    """
    rows = connection.execute(
        """
        select path, source || ' (' || format || ')', sha256, file_bytes, records_landed
        from audit.loads
        where status in ('loaded', 'empty') and superseded_by is null order by load_id
        """
    ).fetchall()
    return [
        Artefact(ArtefactType.SOURCE, name, root / path, row_count=landed, sha256=sha256, bytes=size)
        for path, name, sha256, size, landed in rows
    ]


def rules(connection: duckdb.DuckDBPyConnection, rules_root: Path) -> list[Artefact]:
    """The file of every rule that was replayed, with the hash of what was compiled; it may have been edited since."""
    rows = connection.execute(
        """
        select rule_id, title, file, coalesce(controls, []), file_sha256, file_bytes
        from marts.dim_rules order by rule_id
        """
    ).fetchall()
    return [
        Artefact(
            ArtefactType.RULE, title, rules_root / file,
            rule_id=rule_id, controls=tuple(controls), sha256=sha256, bytes=size,
        )
        for rule_id, title, file, controls, sha256, size in rows
    ]  # fmt: skip


def tables(connection: duckdb.DuckDBPyConnection, warehouse_file: Path) -> list[Artefact]:
    """Every table of `marts` and `violations` but the evidence itself.

    The hash of a table is the SHA-256 of the concatenated hexadecimal SHA-256 of its rows as DuckDB's JSON text, in
    the order of those hashes: it does not depend on the order of rows, and a reader of the Parquet files can redo it.
    """
    names = connection.execute(
        """
        select table_schema, table_name from information_schema.tables
        where table_schema in ('marts', 'violations') and (table_schema, table_name) <> ('marts', 'mart_evidence')
        order by all
        """
    ).fetchall()
    return [_table(connection, schema, name, warehouse_file) for schema, name in names]


def _table(connection: duckdb.DuckDBPyConnection, schema: str, name: str, warehouse_file: Path) -> Artefact:
    rows = exp.select("cast(to_json(t) as varchar) as row_text", dialect="duckdb").from_(
        exp.to_table(f"{schema}.{name}", alias="t")
    )
    query = exp.select(
        "count(*)",
        "coalesce(sum(strlen(row_text)), 0)",
        "sha256(coalesce(string_agg(sha256(row_text), '' order by sha256(row_text)), ''))",
        dialect="duckdb",
    ).from_(rows.subquery("rows"))
    ((count, size, sha256),) = connection.execute(query.sql(dialect="duckdb", identify=True)).fetchall()
    path = warehouse_file.with_name(f"{warehouse_file.name}#{schema}.{name}")
    return Artefact(ArtefactType.TABLE, f"{schema}.{name}", path, row_count=count, sha256=sha256, bytes=int(size))


def _measured(each: Artefact) -> tuple[str, int]:
    """SHA-256 and length: as recorded, or of the file."""
    if each.sha256 is not None and each.bytes is not None:
        return each.sha256, each.bytes
    try:
        with each.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), each.path.stat().st_size
    except FileNotFoundError:
        raise ArtefactMissing(
            f"{each.path}: the {each.type.value} {each.name!r} is not there. Run `hindcast nightly` to make it again."
        ) from None


def _relative(path: Path, root: Path) -> str:
    """The path as it is written down: from the project's folder, so that it means the same elsewhere."""
    return Path(os.path.relpath(path, root)).as_posix()
