"""From facts to the document: the sections in their order, the references they quote, the version of what they say."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from dagster_project.facts import IncidentFacts, Stamp
from dagster_project.post_mortem import sections
from dagster_project.post_mortem.model import Document, References


def build(facts: IncidentFacts, stamp: Stamp) -> Document:
    """The post-mortem of one incident, as a Draft: no statement in it was reviewed by a person."""
    references = References()
    made = tuple(section(facts, references) for section in sections.IN_ORDER)
    document = Document(
        incident_id=facts.incident_id,
        slug=facts.slug,
        title=facts.title,
        state="Draft",
        severity=facts.severity,
        system=facts.system,
        started_at=facts.started.at,
        stamp=stamp,
        sections=made,
        references=references.numbered(),
    )
    return _versioned(document)


def _versioned(document: Document) -> Document:
    # The stamp stays out: a night that changes nothing about an incident must not make a new version of its paper.
    said = {**document.as_json(), "stamp": None}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]
    return replace(document, version=digest)
