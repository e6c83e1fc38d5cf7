"""Writing post-mortems to a folder, each as Markdown, HTML and JSON, and reading back what was written."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.facts import Stamp, WrittenDocument
from dagster_project.post_mortem import render
from dagster_project.post_mortem.document import build
from dagster_project.post_mortem.gather import gather
from dagster_project.post_mortem.model import Document, statements

CATALOGUE = "documents.json"


def write(
    connection: duckdb.DuckDBPyConnection,
    out_dir: Path,
    incidents: Sequence[str] | None = None,
    *,
    stamp: Stamp | None = None,
) -> list[WrittenDocument]:
    """Write `<slug>.md`, `<slug>.html` and `<slug>.json` for each incident.

    Parameters
    ----------
    connection
        With schemas marts and violations.
    out_dir
        Made when absent. Each file appears by a rename, so a reader never meets half of one.
    incidents
        Incident ids; by default those that `gather` chooses, and then documents of incidents that are gone are removed.
    stamp
        Which generation this is; printed in the documents, not part of their version.

    Raises
    ------
    UnknownIncident
        An id that the warehouse does not hold.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    stamp = stamp or Stamp(None, None)
    written = [_write_one(build(facts, stamp), out_dir) for facts in gather(connection, incidents)]
    if incidents is None:
        _remove_others(out_dir, {document.slug for document in written})
        _replace(out_dir / CATALOGUE, json.dumps([_entry(document) for document in written], indent=1, sort_keys=True))
    return written


def read_written(out_dir: Path) -> list[WrittenDocument]:
    """What the last whole `write` into `out_dir` wrote; empty when there was none."""
    catalogue = out_dir / CATALOGUE
    if not catalogue.is_file():
        return []
    entries = json.loads(catalogue.read_text(encoding="utf-8"))
    return [_from_entry(entry, out_dir) for entry in entries]


def _write_one(document: Document, out_dir: Path) -> WrittenDocument:
    body = render.html(document)
    paths = {kind: out_dir / f"{document.slug}.{kind}" for kind in ("md", "html", "json", "body")}
    _replace(paths["md"], render.markdown(document))
    _replace(paths["html"], render.html_page(document, body))
    _replace(paths["json"], json.dumps(document.as_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    _replace(paths["body"], body)
    return WrittenDocument(
        incident_id=document.incident_id,
        slug=document.slug,
        title=document.title,
        state=document.state,
        markdown_path=paths["md"],
        html_path=paths["html"],
        json_path=paths["json"],
        body=body,
        statements=len(statements(document)),
        references=len(document.references),
    )


def _entry(document: WrittenDocument) -> dict[str, Any]:
    entry = asdict(document)
    for name in ("markdown_path", "html_path", "json_path"):
        entry[name] = Path(entry[name]).name
    del entry["body"]
    return entry


def _from_entry(entry: dict[str, Any], out_dir: Path) -> WrittenDocument:
    paths = {name: out_dir / entry[name] for name in ("markdown_path", "html_path", "json_path")}
    body = (out_dir / f"{entry['slug']}.body").read_text(encoding="utf-8")
    return WrittenDocument(**{**entry, **paths, "body": body})


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _remove_others(out_dir: Path, slugs: set[str]) -> None:
    for path in out_dir.iterdir():
        if path.suffix in {".md", ".html", ".json", ".body"} and path.stem not in slugs and path.name != CATALOGUE:
            path.unlink()
