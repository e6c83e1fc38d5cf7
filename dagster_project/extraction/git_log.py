"""Reads what `git log -z --raw --numstat` prints, as it comes, into commits. Runs nothing and writes nothing.

Paths and messages are anybody's text. Only NUL bytes separate, which neither can hold, so nothing in them is taken for
structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from dagster_project.extraction.outcome import ExtractionFailed

READ_BYTES = 1 << 18
TOKEN_LIMIT_BYTES = 1 << 20  # of one path or message; what is longer is cut
FILES_LIMIT_BYTES = 16 << 20  # of one commit's paths; the files after them are counted, not listed

_MARK = b"\x01commit"
# One %x00 after each field; `-z` adds one more after the last.
FORMAT = "%x01commit%x00%H%x00%P%x00%ae%x00%at%x00%ct%x00%B%x00"
SWITCHES = ("-z", "--raw", "--numstat", "--no-abbrev", f"--format={FORMAT}", "--encoding=UTF-8", "--no-diff-merges")

_STATUS = {
    "A": "added",
    "C": "copied",
    "D": "deleted",
    "M": "modified",
    "R": "renamed",
    "T": "type_changed",
    "U": "unmerged",
}
_COUNTS = re.compile(rb"(\d+|-)\t(\d+|-)\t", re.ASCII)


class LogUnreadable(ExtractionFailed):
    """`git log` printed something else than it says it does."""


@dataclass
class File:
    """One file of a commit; the counts are null for binary files."""

    path: str
    old_path: str | None
    status: str
    additions: int | None = None
    deletions: int | None = None


@dataclass
class Commit:
    """One commit as `git log` printed it: times are seconds in text, the message is whole."""

    sha: str
    parents: list[str]
    author_email: str
    authored: str
    committed: str
    message: str
    files: dict[str, File] = field(default_factory=dict)
    file_count: int = 0
    additions: int = 0
    deletions: int = 0
    _listed_bytes: int = 0

    def add(self, file: File) -> None:
        self.file_count += 1
        self._listed_bytes += len(file.path) + len(file.old_path or "") + 100
        if self._listed_bytes <= FILES_LIMIT_BYTES:
            self.files[file.path] = file

    def count(self, path: str, added: bytes, deleted: bytes) -> None:
        is_binary = added == b"-" or deleted == b"-"
        self.additions += 0 if is_binary else int(added)
        self.deletions += 0 if is_binary else int(deleted)
        if path in self.files and not is_binary:
            self.files[path].additions, self.files[path].deletions = int(added), int(deleted)


def commits(output: IO[bytes]) -> Iterator[Commit]:
    """The commits that the command printed with `SWITCHES`, in its order; one is held at a time."""
    tokens = _tokens(output)
    commit: Commit | None = None
    for token in tokens:
        if token == _MARK:
            if commit is not None:
                yield commit
            commit = _head(tokens)
        elif token.startswith((b"\n:", b":")):
            _inside(commit).add(_file(token, tokens))
        elif counts := _COUNTS.match(token):
            path = token[counts.end() :]
            if not path:
                next(tokens, b"")  # a rename: the old path, then the new one
                path = next(tokens, b"")
            _inside(commit).count(path_text(path), *counts.groups())
        elif token.strip(b"\n"):
            raise LogUnreadable(f"git log printed {token[:80]!r} where a commit or a file is expected")
    if commit is not None:
        yield commit


def _inside(commit: Commit | None) -> Commit:
    if commit is None:
        raise LogUnreadable("git log printed a file before the first commit")
    return commit


def _head(tokens: Iterator[bytes]) -> Commit:
    sha, parents, email, authored, committed, message = (next(tokens, b"") for _ in range(6))
    return Commit(
        sha=sha.decode("ascii", "replace"),
        parents=parents.decode("ascii", "replace").split(),
        author_email=email.decode(errors="replace"),
        authored=authored.decode("ascii", "replace"),
        committed=committed.decode("ascii", "replace"),
        message=message.decode(errors="replace"),
    )


def _file(token: bytes, tokens: Iterator[bytes]) -> File:
    """`:100644 100644 <sha> <sha> R100`, then one path, or two for a rename or copy."""
    letter = token.rsplit(b" ", 1)[-1][:1].decode("ascii", "replace")
    first = path_text(next(tokens, b""))
    if letter not in ("R", "C"):
        return File(first, None, _STATUS.get(letter, "unknown"))
    return File(path_text(next(tokens, b"")), first, _STATUS[letter])


def path_text(path: bytes) -> str:
    r"""A path as text; bytes that are no UTF-8 are spelt, `caf\xe9`, so that two paths stay two."""
    return path.decode(errors="backslashreplace")


def _tokens(output: IO[bytes]) -> Iterator[bytes]:
    """What stands between NUL bytes, each cut at the limit; the longest is all that is held."""
    start = b""
    while chunk := output.read(READ_BYTES):
        first, *others = chunk.split(b"\0")
        start += first[: max(0, TOKEN_LIMIT_BYTES - len(start))]
        if others:
            yield start
            *whole, start = others
            yield from whole
    if start:
        yield start
