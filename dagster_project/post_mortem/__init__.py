"""Post-mortems: the warehouse's facts about an incident, a typed document of them, and its Markdown and HTML.

No cause is inferred here and nothing is sent; sentences state what a row says and name that row.
"""

from dagster_project.post_mortem.document import build as build_document
from dagster_project.post_mortem.gather import UnknownIncident, gather, most_abnormal
from dagster_project.post_mortem.model import Document
from dagster_project.post_mortem.references import resolve
from dagster_project.post_mortem.write import read_written, write

__all__ = [
    "Document",
    "UnknownIncident",
    "build_document",
    "gather",
    "most_abnormal",
    "read_written",
    "resolve",
    "write",
]
