"""What is written of a commit or a tag: which facts, and which personal data not. Runs nothing.

Names and e-mail addresses are never written. An author is a keyed hash of the address when the environment has a key,
so that "the same person" can be asked and nobody be named; without a key the author is left out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster_project.extraction.git_log import Commit

KEY_VARIABLE = "HINDCAST_PERSONAL_DATA_KEY"
BODY_LIMIT = 64 << 10  # characters
SUBJECT_LIMIT = 1000
SHORTEST_SHA = 7

_ADDRESS = re.compile(r"<?[\w.+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}>?")
_ADDRESS_MARK = "(address left out)"
# Trailers that name people: Signed-off-by, Co-authored-by, Reviewed-by, Cc and whatever else ends in -by.
_PERSON = re.compile(r"^(?:[A-Za-z]+-)*(?:by|cc|to|author|committer):", re.IGNORECASE)
_TRAILER = re.compile(r"^([A-Za-z][A-Za-z0-9-]{0,60}): +(\S.*)$")
_PULL_REQUEST = re.compile(r"^(Merge pull request #\d+ from )[^\s/]+/")
_REVERTS = re.compile(rf"\bThis reverts commits?\s+([0-9a-f]{{{SHORTEST_SHA},64}})\b")


@dataclass(frozen=True)
class Authors:
    """How authors are told apart: by a keyed hash, or not at all when `key` is empty."""

    key: bytes = b""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Authors:
        return cls(environment.get(KEY_VARIABLE, "").encode())

    def author_id(self, email: str) -> str | None:
        """The same for the same address under the same key, whatever its case; null without key or address."""
        address = email.strip().lower()
        return self._hash(f"author {address}") if self.key and address else None

    @property
    def fingerprint(self) -> str | None:
        """Tells whether the key is still the one of an earlier export."""
        return self._hash("fingerprint")[:8] if self.key else None

    def _hash(self, text: str) -> str:
        return hmac.new(self.key, text.encode(errors="replace"), hashlib.sha256).hexdigest()[:16]


def commit_record(commit: Commit, repository: str, authors: Authors, *, is_boundary: bool) -> dict[str, object]:
    """One line of the export. Of a shallow clone's oldest commits no files are said: git would list the whole tree."""
    subject, _, rest = commit.message.strip("\n").partition("\n")
    body, trailers = _body(rest.strip("\n"))
    files = [] if is_boundary else list(commit.files.values())  # orjson writes dataclasses as they are
    return {
        "type": "commit",
        "repository": repository,
        "sha": commit.sha,
        "parents": commit.parents,
        "author_id": authors.author_id(commit.author_email),
        "authored_at": time_text(commit.authored),
        "committed_at": time_text(commit.committed),
        "subject": _without_people(_without_owner(subject))[:SUBJECT_LIMIT],
        "body": body,
        "is_merge": len(commit.parents) > 1,
        "is_boundary": is_boundary,
        "reverts": list(dict.fromkeys(_REVERTS.findall(commit.message))),
        "trailers": trailers,
        "file_count": None if is_boundary else commit.file_count,
        "additions": None if is_boundary else commit.additions,
        "deletions": None if is_boundary else commit.deletions,
        "files": files,
    }


def tag_record(tag: Mapping[str, str], repository: str) -> dict[str, object]:
    """One line of the export; `sha` is of the commit that an annotated tag stands for."""
    return {
        "type": "tag",
        "repository": repository,
        "name": tag["name"],
        "sha": tag["target"],
        "target_type": tag["target_type"],
        "is_annotated": tag["is_annotated"] == "true",
        "tagged_at": time_text(tag["at"]) if tag["at"] else None,
    }


def time_text(seconds: str) -> str:
    """ISO 8601 of git's seconds; what is no time of this calendar stays as it is, for the load to refuse and show."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"@{seconds[:40]}"


def _body(text: str) -> tuple[str, dict[str, list[str]]]:
    """The body without lines that name people, and the trailers of its last paragraph."""
    lines = [line for line in text.split("\n") if not _PERSON.match(line)]
    body = _without_people("\n".join(lines).strip("\n"))
    trailers: dict[str, list[str]] = {}
    for line in body.rsplit("\n\n", 1)[-1].split("\n"):
        if found := _TRAILER.match(line):
            trailers.setdefault(found[1], []).append(found[2])
    return body[:BODY_LIMIT], trailers


def _without_owner(subject: str) -> str:
    """Subjects that merging writes by itself name whose branch or repository it was."""
    merge, of, address = subject.partition(" of ")
    first, blank, rest = address.partition(" ")
    if of and merge.startswith("Merge ") and ("/" in first or ":" in first):
        subject = f"{merge}{blank}{rest}"
    return _PULL_REQUEST.sub(r"\1", subject)


def _without_people(text: str) -> str:
    return _ADDRESS.sub(_ADDRESS_MARK, text)
