"""Exports a git repository's commits and tags as JSON lines, each run those that no earlier one did; and shows diffs.

The exported files are the only memory of what was exported: the first line of the newest says which tips its history
reaches. Delete them, and the next run exports everything again. The lines are loaded by `sources/git_history.py`.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from dagster_project.extraction.commit_records import Authors, commit_record, tag_record
from dagster_project.extraction.git_log import SWITCHES, commits
from dagster_project.extraction.git_program import DIFF_SWITCHES, Git, GitError
from dagster_project.extraction.outcome import Extraction, ExtractionProgress
from dagster_project.extraction.whole_files import whole_file
from dagster_project.sources.declaration import GitRepository

DIFF_LIMIT_BYTES = 1 << 20
LEFT_BEHIND_LIMIT = 1000  # tips of rewritten histories that are remembered
NOTES_LIMIT = 10
VERSION = 1

_REF = re.compile(r"[\w@][\w./@+#-]{0,250}")
_SHA = re.compile(r"[0-9a-f]{7,64}")
_FILE = re.compile(r"(\d{6,})-([0-9a-f]{12})-([0-9a-f]{12})\.jsonl\.gz")
_NOTHING = "0" * 12


class RefInvalid(GitError):
    """The declared branch, tag or commit is not one, or is not there."""


@dataclass(frozen=True)
class _State:
    """What an export reached, as the first line of its file says it."""

    repository: str
    refs: dict[str, str]  # from a ref to its commit
    tags: dict[str, str]  # from a tag to its object
    exported: list[str]  # commits whose whole history is in this file and the ones before it
    reading: dict[str, str | None]  # how commits were read; when it differs, all are read again
    version: int = VERSION
    type: str = "export"


@dataclass(frozen=True)
class _Plan:
    """What one run exports."""

    state: _State
    known: list[str]  # tips whose history is left out
    changed_tags: list[dict[str, str]]
    previous_tip: str
    notes: list[str] = field(default_factory=list)

    @property
    def new_tips(self) -> list[str]:
        return list(dict.fromkeys(self.state.refs.values()))


def extract(
    source_name: str, repository: GitRepository, folder: Path, progress: ExtractionProgress | None = None
) -> Extraction:
    """Write the commits and tags that are not yet in `folder` to one new file there, or to none when there are none.

    Parameters
    ----------
    source_name
        Becomes the repository's name in the records.
    repository
        As declared; its path is absolute, or relative to the working directory.
    folder
        Of this source alone; made when it is missing.
    progress
        Told when the file is written.

    Raises
    ------
    GitError
        No `git`, no repository, an unknown ref, a run over the time limit; nothing is written then.
    """
    git = Git(Path(repository.repository).resolve())
    since_switch = _since_switch(git.version(), repository.since)
    _prepare(folder)
    authors = Authors.of_environment()
    boundary = _boundary(git)
    earlier = _exports(folder)
    last = _last_state(earlier)
    plan = _plan(git, source_name, repository, authors, boundary, last)
    if earlier and last is None:
        plan.notes.append(f"earlier exports in {folder} are missing or unreadable: all is exported again")
    if plan.state == last or not (plan.state.refs or plan.changed_tags):
        return Extraction(source_name, (), len(earlier), _message(plan, 0, 0, boundary))
    number = _number(earlier[-1]) + 1 if earlier else 1
    target = folder / f"{number:06}-{plan.previous_tip}-{_tip(plan.state.refs)}.jsonl.gz"
    count = 0
    with _whole_file(target) as file:
        # The type comes first, for a reader that has seen no more than a few bytes.
        file.write(orjson.dumps({"type": "export"} | asdict(plan.state)) + b"\n")
        for tag in plan.changed_tags:
            file.write(orjson.dumps(tag_record(tag, source_name)) + b"\n")
        for line in _commit_lines(git, plan, since_switch, source_name, authors, boundary):
            file.write(line)
            count += 1
    if progress is not None:
        progress(source_name, 1, 1)
    return Extraction(source_name, (target,), len(earlier), _message(plan, count, len(plan.changed_tags), boundary))


def diff(repository: Path, sha: str, paths: tuple[str, ...] = (), limit: int = DIFF_LIMIT_BYTES) -> str:
    """What a commit changed, as a patch against its first parent; after `limit` bytes it is cut and says so.

    Parameters
    ----------
    repository
        Its folder.
    sha
        A commit, abbreviated or not.
    paths
        Only these, taken literally; none: all.

    Raises
    ------
    GitError
        As for `extract`, and `RefInvalid` when there is no such commit.
    """
    if not _SHA.fullmatch(sha):
        raise RefInvalid(f"{sha!r:.80} is no commit; give 7 to 64 hexadecimal digits")
    git = Git(repository.resolve(), time_limit=60)
    commit = _resolved(git, sha)
    switches = (*DIFF_SWITCHES, "--format=", "-p", "-m", "--first-parent", "--src-prefix=a/", "--dst-prefix=b/")
    with git.stream("show", *switches, "--end-of-options", commit, "--", *paths) as output:
        found = output.read(limit + 1)
    text = found[:limit].decode(errors="replace")
    return text if len(found) <= limit else f"{text}\n(cut after {limit} bytes; name fewer paths)\n"


def _plan(
    git: Git,
    source_name: str,
    repository: GitRepository,
    authors: Authors,
    boundary: frozenset[str],
    last: _State | None,
) -> _Plan:
    refs = _branches(git) if repository.ref is None else _one_ref(git, repository.ref)
    tags = _tags(git)
    reading = {
        "since": str(repository.since) if repository.since else None,
        "author_key": authors.fingerprint,
        "boundary": _digest(sorted(boundary)) if boundary else None,
    }
    notes: list[str] = []
    if last is not None and last.reading != reading:
        notes.append(f"read anew as a whole: {_what_differs(last.reading, reading)}")
        last = None
    known = _present(git, last.exported) if last else []
    passed: set[str] = set()
    if last is not None:
        passed = _passed(git, last, refs, known, notes)
    left_behind = [tip for tip in known if tip not in passed and tip not in refs.values()]
    exported = list(dict.fromkeys([*refs.values(), *left_behind[:LEFT_BEHIND_LIMIT]]))
    state = _State(source_name, refs, {tag["name"]: tag["object"] for tag in tags}, exported, reading)
    before = last.tags if last and known else {}
    changed = [tag for tag in tags if before.get(tag["name"]) != tag["object"]]
    return _Plan(state, known, changed, _tip(last.refs) if last and known else _NOTHING, notes)


def _commit_lines(
    git: Git, plan: _Plan, since: tuple[str, ...], name: str, authors: Authors, boundary: frozenset[str]
) -> Iterator[bytes]:
    if not plan.new_tips:
        return
    wanted = "".join([*(f"{tip}\n" for tip in plan.new_tips), *(f"^{tip}\n" for tip in plan.known)])
    with git.stream("log", *SWITCHES, *DIFF_SWITCHES, *since, "--stdin", stdin=wanted.encode()) as output:
        for commit in commits(output):
            if commit.file_count > len(commit.files):
                plan.notes.append(f"{commit.sha[:12]} lists {len(commit.files)} of its {commit.file_count} files")
            record = commit_record(commit, name, authors, is_boundary=commit.sha in boundary)
            yield orjson.dumps(record) + b"\n"


def _one_ref(git: Git, ref: str) -> dict[str, str]:
    if not _REF.fullmatch(ref) or ".." in ref or "@{" in ref:
        raise RefInvalid(f"ref {ref!r:.80} is no name of a branch, a tag or a commit; mend `ref`")
    if ref == "HEAD":
        # A repository in which nothing was committed yet has a HEAD that leads nowhere.
        code, _ = git.answer("rev-parse", "--verify", "--quiet", "HEAD", expected=(0, 1, 128))
        if code:
            return {}
    return {ref: _resolved(git, ref)}


def _resolved(git: Git, ref: str) -> str:
    code, found = git.answer(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", expected=(0, 1, 128)
    )
    sha = found.decode("ascii", "replace").strip().removeprefix("--end-of-options").strip()
    if code or not _SHA.fullmatch(sha):
        raise RefInvalid(f"{git.repository} has no commit {ref!r:.80}; mend `ref`, or fetch it")
    return sha


def _branches(git: Git) -> dict[str, str]:
    _, listed = git.answer("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/remotes")
    pairs = (line.split(b" ", 1) for line in listed.splitlines())
    return {name.decode(errors="backslashreplace"): sha.decode("ascii") for sha, name in pairs}


_TAG_FIELDS = ("refname:strip=2", "objectname", "objecttype", "*objectname", "*objecttype", "creatordate:unix")


def _tags(git: Git) -> list[dict[str, str]]:
    form = "%00".join(f"%({name})" for name in _TAG_FIELDS)
    _, listed = git.answer("for-each-ref", f"--format={form}", "refs/tags")
    tags = []
    for line in listed.splitlines():
        name, sha, kind, target, target_kind, at = line.decode(errors="backslashreplace").split("\0")
        tags.append(
            {
                "name": name,
                "object": sha,
                "target": target or sha,
                "target_type": target_kind or kind,
                "is_annotated": "true" if kind == "tag" else "false",
                "at": at,
            }
        )
    return tags


def _present(git: Git, shas: list[str]) -> list[str]:
    """Those that the repository still has as commits: what a rewritten history left behind is deleted some day."""
    asked = "".join(f"{sha}\n" for sha in shas if _SHA.fullmatch(sha))
    _, answers = git.answer("cat-file", "--batch-check=%(objecttype) %(objectname)", stdin=asked.encode())
    return [line[7:].decode("ascii") for line in answers.splitlines() if line.startswith(b"commit ")]


def _passed(git: Git, last: _State, refs: Mapping[str, str], known: list[str], notes: list[str]) -> set[str]:
    """The old tips that new ones lead back to; of the others `notes` is told."""
    passed = set()
    for ref, old in last.refs.items():
        new = refs.get(ref)
        if new is None or new == old:
            continue
        if old not in known:
            notes.append(f"{ref} was rewritten, and {old[:12]}, where it was, is gone")
        elif git.answer("merge-base", "--is-ancestor", old, new, expected=(0, 1))[0]:
            notes.append(f"{ref} was rewritten or moved: {old[:12]} is no longer part of it")
        else:
            passed.add(old)
    if last.exported and not known:
        notes.append("all is exported again")
    return passed


def _boundary(git: Git) -> frozenset[str]:
    """The oldest commits of a shallow clone, whose parents are not there."""
    _, path = git.answer("rev-parse", "--git-path", "shallow")
    file = git.repository / os.fsdecode(path.rstrip(b"\n"))
    with suppress(OSError):
        return frozenset(file.read_text("ascii", "replace").split())
    return frozenset()


def _since_switch(version: tuple[int, ...], since: date | None) -> tuple[str, ...]:
    if since is None:
        return ()
    # `--since` ends at the first older commit, which one wrong clock is enough for; older programs know nothing better.
    name = "--since-as-filter" if version >= (2, 37) else "--since"
    return (f"{name}={since}T00:00:00Z",)


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(".*.part"):
            left_over.unlink()
    except OSError as error:
        raise GitError(f"{folder} cannot be written to: {error}; make room, or mend its permissions") from error


def _exports(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if _FILE.fullmatch(path.name)), key=_number)


def _is_whole(files: list[Path]) -> bool:
    """Whether no file is missing between the newest and the last one that left out nothing."""
    for position, file in enumerate(reversed(files)):
        if _number(file) != _number(files[-1]) - position:
            return False
        if file.name.split("-")[1] == _NOTHING:
            return True
    return False


def _number(path: Path) -> int:
    return int(path.name.split("-", 1)[0])


def _last_state(files: list[Path]) -> _State | None:
    if not _is_whole(files):
        return None
    try:
        with gzip.open(files[-1]) as file:
            said: dict[str, Any] = orjson.loads(file.readline())
        state = _State(**said)
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return state if state.version == VERSION else None


def _tip(refs: Mapping[str, str]) -> str:
    """Twelve digits that name where the refs are: of one its commit's, of several a hash."""
    if len(refs) == 1:
        return next(iter(refs.values()))[:12]
    return _digest([f"{name} {sha}" for name, sha in sorted(refs.items())])


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _what_differs(before: Mapping[str, str | None], now: Mapping[str, str | None]) -> str:
    names = {"since": "`since`", "author_key": "the key of personal data", "boundary": "the depth of the clone"}
    return ", ".join(names[name] for name in names if before.get(name) != now.get(name)) + " changed"


def _message(plan: _Plan, count: int, tag_count: int, boundary: frozenset[str]) -> str:
    said = [f"{count} commits and {tag_count} tags exported" if count or tag_count else "nothing new"]
    said += plan.notes[:NOTES_LIMIT]
    if len(plan.notes) > NOTES_LIMIT:
        said.append(f"and {len(plan.notes) - NOTES_LIMIT} more notes")
    if boundary:
        said.append("a shallow clone: commits before its depth are missing (git fetch --unshallow brings them)")
    return "; ".join(said)


@contextmanager
def _whole_file(target: Path) -> Iterator[gzip.GzipFile]:
    """A gzip file that is there when it is whole; the same lines give the same bytes."""
    try:
        with (
            whole_file(target) as raw,
            gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as file,
        ):
            yield file
    except OSError as error:
        raise GitError(f"{target} cannot be written: {error}; make room, or mend its permissions") from error
