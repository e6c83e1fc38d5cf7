"""Exporting repositories that real `git` made: what is written, what is not, and that nothing in them is run."""

from __future__ import annotations

import gzip
import os
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from dagster_project.extraction import git_log, git_program
from dagster_project.extraction.commit_records import Authors
from dagster_project.extraction.git_program import GitError, GitMissing, GitTimedOut, NotARepository
from dagster_project.extraction.git_repository import RefInvalid, _whole_file, diff, extract
from dagster_project.extraction.outcome import Extraction
from dagster_project.sources.declaration import GitRepository

ANN, BO = ("Ann Invented", "ann.invented@mail.example.org"), ("Bo Invented", "bo@example.org")
FIRST_DAY = 1_700_000_000


class Repository:
    """A repository, written to with the clock of the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = FIRST_DAY
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str | bytes, author: tuple[str, str] = ANN, stdin: bytes = b"") -> str:
        name, address = author
        said = {"NAME": name, "EMAIL": address, "DATE": f"{self.seconds} +0200"}
        people = {f"GIT_{role}_{field}": said[field] for role in ("AUTHOR", "COMMITTER") for field in said}
        done = subprocess.run(
            ["git", "-C", self.path, *arguments],
            env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **people},
            input=stdin, capture_output=True, check=True,
        )  # fmt: skip
        return done.stdout.decode().strip()

    def commit(self, message: str = "Change", author: tuple[str, str] = ANN, **files: bytes | str) -> str:
        """Commit files by name; without files an empty commit. A minute passes."""
        self.seconds += 60
        for name, content in files.items():
            path = self.path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-F", "-", author=author, stdin=message.encode())
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "shop")


@pytest.fixture(autouse=True)
def without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HINDCAST_PERSONAL_DATA_KEY", raising=False)


def export(repository: Repository, folder: str = "out", **declared: Any) -> Extraction:
    wanted = GitRepository(repository=str(repository.path), **declared)
    return extract("shop", wanted, repository.path.parent / folder)


def lines(found: Extraction | list[Path]) -> list[dict[str, Any]]:
    files = found.written if isinstance(found, Extraction) else found
    return [orjson.loads(line) for file in files for line in gzip.open(file)]


def of_type(kind: str, found: Extraction | list[Path]) -> list[dict[str, Any]]:
    return [line for line in lines(found) if line["type"] == kind]


def all_of(repository: Repository, folder: str = "out") -> list[Path]:
    return sorted((repository.path.parent / folder).iterdir())


# --- what is written --------------------------------------------------------------------------------------------------


def test_a_commit_is_written_with_its_files_and_times(repository):
    first = repository.commit("Sell tea", readme="a\nb\nc\nd\ne\nf\n", code__tea="1\n", logo=b"\0\1\2")
    (repository.path / "readme").rename(repository.path / "notes")
    (repository.path / "code/tea").unlink()
    second = repository.commit("Rename\n\nThe old name\nwas read.\n", logo=b"\0\1\3")
    newer, older = of_type("commit", export(repository))
    assert (older["sha"], older["parents"], older["repository"]) == (first, [], "shop")
    assert (newer["sha"], newer["parents"]) == (second, [first])
    assert newer["committed_at"] == newer["authored_at"] == "2023-11-14T22:15:20Z"
    assert (newer["subject"], newer["body"]) == ("Rename", "The old name\nwas read.")
    keys = ("path", "old_path", "status", "additions", "deletions")
    assert [tuple(file[key] for key in keys) for file in older["files"]] == [
        ("code/tea", None, "added", 1, 0), ("logo", None, "added", None, None), ("readme", None, "added", 6, 0),
    ]  # fmt: skip
    assert [tuple(file[key] for key in keys) for file in newer["files"]] == [
        ("code/tea", None, "deleted", 0, 1), ("logo", None, "modified", None, None),
        ("notes", "readme", "renamed", 0, 0),
    ]  # fmt: skip
    assert (older["file_count"], older["additions"], newer["deletions"]) == (3, 7, 1)


def test_the_counts_are_those_of_git_itself(repository):
    for number in range(12):
        repository.commit(f"{number}", a="x\n" * number, **{f"f{number}": "y\n" * 3})
    written = {commit["sha"]: commit for commit in of_type("commit", export(repository))}
    shas = repository.git("rev-list", "HEAD").split()
    assert list(written) == shas
    for sha in shas:
        counted = repository.git("diff-tree", "--root", "-r", "--numstat", "--no-commit-id", sha).split("\n")
        assert sorted(f"{each['additions']}\t{each['deletions']}\t{each['path']}" for each in written[sha]["files"]) \
            == sorted(counted)  # fmt: skip


def test_a_merge_is_one_and_has_no_files_of_its_own(repository):
    repository.commit(a="1\n")
    repository.git("checkout", "-q", "-b", "side")
    side = repository.commit(b="1\n")
    repository.git("checkout", "-q", "main")
    main = repository.commit(c="1\n")
    repository.git("merge", "-q", "--no-ff", "-m", "Merge pull request #7 from ann-invented/side", "side")
    merge = of_type("commit", export(repository))[0]
    assert (merge["is_merge"], merge["parents"], merge["files"]) == (True, [main, side], [])
    assert merge["subject"] == "Merge pull request #7 from side"
    assert [commit["is_merge"] for commit in of_type("commit", export(repository, "again"))] == [
        True,
        False,
        False,
        False,
    ]


def test_reverts_name_what_they_revert(repository):
    bad = repository.commit("Add", a="1\n")
    repository.commit("Other", b="1\n")
    repository.git("revert", "--no-edit", bad)
    short = repository.commit(f'Revert "Add"\n\nThis reverts commit {bad[:9]}, for good.\n', a="2\n")
    repository.commit("Mentions commit deadbeefdead and no more")
    found = {commit["sha"]: commit["reverts"] for commit in of_type("commit", export(repository))}
    assert sorted(found.values()) == [[], [], [], [bad[:9]], [bad]]
    assert found[short] == [bad[:9]]


def test_tags_of_both_kinds_are_lines_of_their_own(repository):
    sha = repository.commit(a="1")
    repository.git("tag", "v1")
    repository.git("tag", "-a", "v2", "-m", "secret words of Ann Invented")
    first, second = of_type("tag", export(repository))
    assert (first["name"], first["sha"], first["is_annotated"], first["repository"]) == ("v1", sha, False, "shop")
    assert (second["name"], second["sha"], second["is_annotated"]) == ("v2", sha, True)
    assert second["tagged_at"] == "2023-11-14T22:14:20Z"


@pytest.mark.parametrize(
    "name", [b"caf\xe9", 'naïve\n-\t"x"'.encode(), b":100644 000000 x", b"commit", b"1\t2\tx", b"\x01commit"]
)
def test_any_name_of_a_file_is_one_path(repository, name):
    repository.commit("base")
    (Path(os.fsencode(repository.path).decode()) / os.fsdecode(name)).write_bytes(b"1\n")
    repository.commit("odd name")
    (newer, _) = of_type("commit", export(repository))
    assert [(file["path"], file["additions"]) for file in newer["files"]] == [
        (name.decode(errors="backslashreplace"), 1)
    ]


def test_a_message_that_looks_like_structure_is_a_message(repository):
    message = "\x01commit\n\n:100644 100644 a b M\n1\t2\tpath\n\ncommit " + "0" * 40
    repository.commit(message, a="1")
    (commit,) = of_type("commit", export(repository))
    assert (commit["subject"], len(commit["files"])) == ("\x01commit", 1)
    assert commit["body"].endswith("0" * 40)


def test_a_message_in_another_encoding_is_read(repository):
    repository.git("-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty", "-F", "-", stdin=b"caf\xe9")
    raw = f"tree {repository.git('rev-parse', 'HEAD^{tree}')}\nparent {repository.git('rev-parse', 'HEAD')}\n"
    people = f"author A <a@example.org> {FIRST_DAY} +0000\ncommitter A <a@example.org> {FIRST_DAY} +0000\n\n"
    bad = repository.git(
        "hash-object", "-t", "commit", "-w", "--stdin", stdin=(raw + people).encode() + b"bad \xff byte"
    )
    repository.git("update-ref", "refs/heads/main", bad)
    assert [each["subject"] for each in of_type("commit", export(repository))] == ["bad \ufffd byte", "caf\xe9"]


def test_a_commit_of_very_many_files_is_cut_and_counted(repository, monkeypatch):
    monkeypatch.setattr(git_log, "FILES_LIMIT_BYTES", 400)
    repository.commit("many", **{f"file{number}": "1\n" for number in range(10)})
    found = export(repository)
    (commit,) = of_type("commit", found)
    assert f"{commit['sha'][:12]} lists 3 of its 10 files" in str(found.message)
    assert (len(commit["files"]), commit["file_count"], commit["additions"]) == (3, 10, 10)


def test_nothing_depends_on_where_a_read_ends(repository, monkeypatch):
    repository.commit("One\n\nbody", a="1\n", b=b"\0")
    (repository.path / "a").rename(repository.path / "c")
    repository.commit("Two")
    whole = lines(export(repository))
    for size in (1, 2, 7):
        monkeypatch.setattr(git_log, "READ_BYTES", size)
        assert lines(export(repository, f"by{size}")) == whole


# --- people -----------------------------------------------------------------------------------------------------------


def test_no_name_and_no_address_is_ever_written(repository, monkeypatch):
    message = (
        "Fix, says bo@example.org\n\nAsk <ann.invented@mail.example.org>.\n\n"
        "Fixes: #12\nSigned-off-by: Ann Invented <ann.invented@mail.example.org>\n"
        "Co-authored-by: Bo Invented <bo@example.org>\nCc: Bo Invented\n"
    )
    repository.commit(message, author=BO, a="1")
    repository.git("tag", "-a", "v1", "-m", "by Ann Invented")
    without = export(repository)
    monkeypatch.setenv("HINDCAST_PERSONAL_DATA_KEY", "a key of the test")
    for found in (without, export(repository, "with")):
        text = gzip.decompress(found.written[0].read_bytes()).decode()
        assert not any(each in text for each in ("Invented", "example.org", "bo@"))
        assert "a key of the test" not in text
    (commit,) = of_type("commit", without)
    assert commit["trailers"] == {"Fixes": ["#12"]}
    assert commit["body"] == "Ask (address left out).\n\nFixes: #12"


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        ("Merge pull request #7 from ann-invented/side", "Merge pull request #7 from side"),
        ("Merge branch 'side' of github.com:ann-invented/shop into live", "Merge branch 'side' into live"),
        ("Merge branch 'side' of https://git.example.org/ann-invented/shop", "Merge branch 'side'"),
        ("Merge branch 'end of line'", "Merge branch 'end of line'"),
        ("Take care of this/that", "Take care of this/that"),
    ],
)
def test_the_subject_of_a_merge_does_not_say_whose_it_was(repository, subject, written):
    repository.commit(subject)
    assert of_type("commit", export(repository))[0]["subject"] == written


def test_authors_are_told_apart_only_with_a_key(repository, monkeypatch):
    repository.commit("1", author=ANN)
    repository.commit("2", author=BO)
    repository.commit("3", author=(ANN[0], ANN[1].upper()))
    assert {commit["author_id"] for commit in of_type("commit", export(repository))} == {None}
    monkeypatch.setenv("HINDCAST_PERSONAL_DATA_KEY", "one")
    again = export(repository)
    third, second, first = (commit["author_id"] for commit in of_type("commit", again))
    assert first == third != second
    assert first == Authors(b"one").author_id(ANN[1])
    assert first != Authors(b"two").author_id(ANN[1])
    assert "the key of personal data changed" in str(again.message)


# --- run after run ----------------------------------------------------------------------------------------------------


def test_each_run_writes_what_is_new_and_together_they_equal_one(repository):
    first = repository.commit("1", a="1")
    one = export(repository)
    assert export(repository).written == ()
    assert export(repository).message == "nothing new"
    repository.commit("2", a="2")
    repository.git("tag", "v1")
    last = repository.commit("3", a="3")
    two = export(repository)
    assert [len(of_type("commit", each)) for each in (one, two)] == [1, 2]
    assert [path.name for path in all_of(repository)] == [
        f"000001-000000000000-{first[:12]}.jsonl.gz", f"000002-{first[:12]}-{last[:12]}.jsonl.gz",
    ]  # fmt: skip
    assert two.already_there == 1
    assert lines(two)[0]["exported"] == [last], "what new tips lead back to need not be remembered"
    whole = export(repository, "whole")
    for kind in ("commit", "tag"):
        in_parts = of_type(kind, all_of(repository))
        assert sorted(in_parts, key=orjson.dumps) == sorted(of_type(kind, whole), key=orjson.dumps)


def test_the_same_history_gives_the_same_bytes(repository):
    repository.commit("1", a="1")
    one, two = export(repository, "one").written[0], export(repository, "two").written[0]
    assert (one.name, one.read_bytes()) == (two.name, two.read_bytes())


def test_a_run_that_was_killed_leaves_nothing_that_is_seen(repository, monkeypatch):
    repository.commit("1", a="1")
    folder = repository.path.parent / "out"
    with monkeypatch.context() as patch:

        def killed(*_arguments: object, **_named: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("dagster_project.extraction.git_repository.commit_record", killed)
        with pytest.raises(KeyboardInterrupt):
            export(repository)
    assert list(folder.iterdir()) == []
    (folder / ".000001-x.jsonl.gz.part").write_bytes(b"half")
    assert len(of_type("commit", export(repository))) == 1
    assert len(all_of(repository)) == 1


def test_a_rewritten_history_is_noticed_and_only_the_new_is_written(repository):
    kept = repository.commit("1", a="1")
    gone = repository.commit("2", a="2")
    export(repository)
    repository.git("reset", "-q", "--hard", kept)
    new = repository.commit("other", a="3")
    again = export(repository)
    assert [commit["sha"] for commit in of_type("commit", again)] == [new]
    assert f"HEAD was rewritten or moved: {gone[:12]} is no longer part of it" in str(again.message)
    assert export(repository).message == "nothing new"


def test_when_the_old_tip_is_gone_everything_is_exported_again(repository):
    kept = repository.commit("1", a="1")
    gone = repository.commit("2", a="2")
    export(repository)
    repository.git("reset", "-q", "--hard", kept)
    new = repository.commit("other", a="3")
    repository.git("reflog", "expire", "--expire=all", "--all")
    repository.git("gc", "-q", "--prune=all")
    again = export(repository)
    assert [commit["sha"] for commit in of_type("commit", again)] == [new, kept]
    assert f"{gone[:12]}, where it was, is gone; all is exported again" in str(again.message)
    assert again.written[0].name.startswith("000002-000000000000-")


def test_a_missing_or_damaged_export_is_made_up_for(repository):
    for number in range(3):
        repository.commit(str(number), a=str(number))
        export(repository)
    first, second, third = all_of(repository)
    second.unlink()
    again = export(repository)
    assert len(of_type("commit", again)) == 3
    assert "missing or unreadable" in str(again.message)
    assert again.written[0].name.startswith("000004-")
    again.written[0].write_bytes(third.read_bytes()[:40])
    assert len(of_type("commit", export(repository))) == 3
    assert export(repository).written == ()
    assert first.exists()


def test_new_and_moved_tags_alone_are_worth_a_file(repository):
    one = repository.commit("1", a="1")
    repository.git("tag", "stays")
    repository.git("tag", "latest")
    two = repository.commit("2", a="2")
    export(repository)
    repository.git("tag", "-f", "latest", two)
    repository.git("tag", "new", one)
    again = export(repository)
    assert [(tag["name"], tag["sha"]) for tag in of_type("tag", again)] == [("latest", two), ("new", one)]
    assert of_type("commit", again) == []
    assert export(repository).written == ()


def test_all_branches_or_one(repository):
    repository.commit("1", a="1")
    repository.git("checkout", "-q", "-b", "side")
    side = repository.commit("2", a="2")
    repository.git("checkout", "-q", "main")
    assert len(of_type("commit", export(repository, "main"))) == 1
    assert of_type("commit", export(repository, "side", ref="side"))[0]["sha"] == side
    assert len(of_type("commit", export(repository, "all", ref=None))) == 2
    new = repository.commit("3", a="3")
    assert [each["sha"] for each in of_type("commit", export(repository, "all", ref=None))] == [new]


def test_since_leaves_out_what_is_older_even_behind_a_wrong_clock(repository):
    repository.commit("old")
    repository.seconds = FIRST_DAY + 86_400 * 3
    repository.commit("new")
    for _ in range(8):
        repository.seconds = FIRST_DAY - 86_400 * 365
        repository.commit("wrong clock")
    repository.seconds = FIRST_DAY + 86_400 * 4
    repository.commit("newest")
    found = of_type("commit", export(repository, since=date(2023, 11, 16)))
    expected = ["newest", "new"] if git_program.Git.version() >= (2, 37) else ["newest"]
    assert [commit["subject"] for commit in found] == expected
    assert "`since` changed" in str(export(repository).message)


def test_an_empty_repository_is_no_error_and_no_file(repository):
    for ref in ("HEAD", None):
        found = export(repository, ref=ref)
        assert (found.written, found.message) == ((), "nothing new")
    repository.commit("at last")
    assert len(of_type("commit", export(repository))) == 1


def test_a_bare_clone_is_read_alike(repository):
    repository.commit("1", a="1")
    bare = repository.path.parent / "bare.git"
    repository.git("clone", "-q", "--bare", str(repository.path), str(bare))
    found = extract("shop", GitRepository(repository=str(bare)), repository.path.parent / "out")
    assert of_type("commit", found) == of_type("commit", export(repository, "other"))


def test_a_shallow_clone_says_so_and_claims_no_files_at_its_edge(repository):
    for number in range(3):
        repository.commit(str(number), a=str(number))
    shallow = repository.path.parent / "shallow"
    repository.git("clone", "-q", "--depth", "2", f"file://{repository.path}", str(shallow))
    wanted, out = GitRepository(repository=str(shallow)), repository.path.parent / "out"
    found = extract("shop", wanted, out)
    newer, edge = of_type("commit", found)
    assert (edge["is_boundary"], edge["files"], edge["file_count"]) == (True, [], None)
    assert (newer["is_boundary"], newer["file_count"]) == (False, 1)
    assert "a shallow clone" in str(found.message)
    repository.git("-C", str(shallow), "fetch", "-q", "--unshallow")
    assert len(of_type("commit", extract("shop", wanted, out))) == 3


# --- what is not there ------------------------------------------------------------------------------------------------


def test_no_program_says_what_to_install(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository.path))
    with pytest.raises(GitMissing, match="install it"):
        export(repository)


def test_a_folder_inside_of_another_repository_is_none(repository, tmp_path):
    repository.commit(a="1", inner__b="1")
    for folder in (repository.path / "inner", tmp_path / "nowhere"):
        with pytest.raises(NotARepository, match=folder.name):
            extract("shop", GitRepository(repository=str(folder)), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("ref", ["nowhere", "main..HEAD", "HEAD@{1}", "a:b", "x^{tree}", ""])
def test_a_ref_that_is_none_is_named(repository, ref):
    repository.commit(a="1")
    wanted = GitRepository.model_construct(repository=str(repository.path), ref=ref, since=None)
    with pytest.raises(RefInvalid, match="mend `ref`"):
        extract("shop", wanted, repository.path.parent / "out")


@pytest.mark.parametrize("ref", ["--output=pwned", "-x", "--all"])
def test_a_ref_is_never_taken_for_a_switch(repository, ref):
    repository.commit(a="1")
    with pytest.raises(RefInvalid):
        extract("shop", GitRepository.model_construct(repository=str(repository.path), ref=ref, since=None),
                repository.path.parent / "out")  # fmt: skip
    with pytest.raises(RefInvalid):
        diff(repository.path, ref)


def test_a_run_over_the_time_limit_is_ended(repository, monkeypatch, tmp_path):
    repository.commit(a="1")
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text('#!/bin/sh\ncase "$*" in *--version*) echo git version 2.39.5;; *) sleep 60;; esac\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    git = git_program.Git(repository.path, time_limit=0.2)
    with pytest.raises(GitTimedOut, match="longer than 0 s"):
        git.answer("rev-parse", "HEAD")


def test_an_old_program_is_refused(repository, monkeypatch, tmp_path):
    old = tmp_path / "bin/git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 1.8.3\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    with pytest.raises(GitMissing, match=r"2\.30 or later"):
        export(repository)


def test_a_failure_half_way_writes_nothing(repository):
    repository.commit(a="1\n" * 100)
    repository.commit(a="2\n" * 100)
    for pack in repository.path.glob(".git/objects/??/*"):
        kind = repository.git("cat-file", "-t", pack.parent.name + pack.name)
        if kind == "blob":
            pack.chmod(0o644)
            pack.write_bytes(b"damaged")
    with pytest.raises(GitError, match="git log ended with"):
        export(repository)
    assert list((repository.path.parent / "out").iterdir()) == []


# --- a hostile repository ---------------------------------------------------------------------------------------------


def test_nothing_that_a_repository_names_is_run(repository, monkeypatch):
    """Watchers, hooks, diff tools, converters, filters, pagers, signatures: each would leave a file behind."""
    for number in range(2):
        repository.commit(f"{number}", **{"a": f"{number}\n" * 5, ".gitattributes": "* diff=evil filter=evil\n"})
    raw = repository.git("cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n\n", 1
    )
    signed = repository.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode())
    repository.git("update-ref", "refs/heads/main", signed)
    left = repository.path.parent / "was_run"
    evil = repository.path.parent / "evil.sh"
    evil.write_text(f'#!/bin/sh\necho "$0 $*" >> {left}\ncat "$1" 2>/dev/null || true\n')
    evil.chmod(0o755)
    for name in (
        "core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "core.askPass", "diff.external",
        "diff.evil.command", "diff.evil.textconv", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process",
        "gpg.program", "gpg.ssh.program", "pager.log", "pager.show", "interactive.diffFilter", "credential.helper",
        "core.alternateRefsCommand", "remote.origin.uploadpack", "alias.log", "alias.show",
    ):  # fmt: skip
        repository.git("config", name, f"!{evil}" if name.startswith("alias") else str(evil))
    for name, value in {
        "log.showSignature": "true", "log.showRoot": "false", "diff.evil.cachetextconv": "true", "color.ui": "always",
        "diff.noprefix": "true", "diff.renames": "false", "log.decorate": "full", "format.pretty": "fuller",
        "diff.orderFile": "/nowhere", "diff.relative": "true", "core.hooksPath": str(repository.path / "hooks"),
        "diff.submodule": "diff", "log.date": "relative", "log.mailmap": "true", "core.attributesFile": str(evil),
    }.items():  # fmt: skip
        repository.git("config", name, value)
    hooks = repository.path / "hooks"
    hooks.mkdir()
    for hook in ("post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman", "post-checkout"):
        (hooks / hook).write_text(evil.read_text())
        (hooks / hook).chmod(0o755)
    left.unlink(missing_ok=True)
    # The trap works: git as it comes runs some of these.
    subprocess.run(["git", "-C", repository.path, "diff", "HEAD~1"], capture_output=True, check=False)
    subprocess.run(["git", "-C", repository.path, "log", "-1"], capture_output=True, check=False)
    assert "--verify" in left.read_text(), "no signature was looked at"
    assert len(left.read_text().splitlines()) > 1, "nothing else was run"
    left.unlink()
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(evil))
    monkeypatch.setenv("GIT_PAGER", str(evil))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    found = export(repository)
    patch = diff(repository.path, of_type("commit", found)[0]["sha"])
    assert not left.exists(), left.read_text()
    assert [len(commit["files"]) for commit in of_type("commit", found)] == [1, 2]
    assert patch.startswith("diff --git a/a b/a\n")
    assert "+1\n" in patch


def test_a_partial_clone_fetches_nothing(repository):
    repository.commit(a="1\n" * 10)
    repository.commit(a="2\n" * 10)
    repository.git("config", "uploadpack.allowFilter", "true")
    partial = repository.path.parent / "partial"
    repository.git("clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{repository.path}", str(partial))
    left = repository.path.parent / "was_run"
    repository.git("-C", str(partial), "config", "remote.origin.uploadpack", f"touch {left}; git-upload-pack")
    repository.git("-C", str(partial), "config", "protocol.file.allow", "always")
    with pytest.raises(GitError, match="is a partial clone"):
        extract("shop", GitRepository(repository=str(partial)), repository.path.parent / "out")
    assert not left.exists()


def test_replaced_objects_and_grafts_do_not_rewrite_history(repository):
    repository.commit("true", a="1")
    repository.commit("top", a="2")
    fake = repository.git("commit-tree", "-m", "fake", "HEAD^{tree}")
    repository.git("replace", "HEAD~1", fake)
    assert [commit["subject"] for commit in of_type("commit", export(repository))] == ["top", "true"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to somebody else")
def test_a_repository_of_another_owner_is_read(repository):
    repository.commit("1", a="1")
    for path in [repository.path, *repository.path.rglob("*")]:
        os.chown(path, 65_534, 65_534)
    assert len(of_type("commit", export(repository))) == 1


def test_the_user_s_own_configuration_does_not_count(repository, monkeypatch, tmp_path):
    repository.commit("1", a="1")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text("[diff]\n\tnoprefix = true\n[core]\n\tfsmonitor = /bin/false\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "home/.gitconfig"))
    assert diff(repository.path, repository.git("rev-parse", "HEAD")).startswith("diff --git a/a b/a\n")


def test_a_folder_that_cannot_be_written_is_named(repository, tmp_path):
    repository.commit("1", a="1")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(GitError, match="out cannot be written to"):
        export(repository)
    with pytest.raises(GitError, match=r"nowhere.*cannot be written"), _whole_file(tmp_path / "nowhere" / "x"):
        pass


# --- diffs ------------------------------------------------------------------------------------------------------------


def test_a_diff_is_of_the_named_paths_and_bounded(repository):
    repository.commit(a="1\n", b="1\n")
    sha = repository.commit("more", a="2\n" * 5000, b="2\n", **{"*": "3\n"})
    assert "b/b" in diff(repository.path, sha)
    assert "b/b" not in diff(repository.path, sha[:10], ("a",))
    assert "b/a" not in diff(repository.path, sha, ("*",)), "a path is no pattern"
    assert diff(repository.path, sha, ("--output=x",)) == ""
    short = diff(repository.path, sha, limit=100)
    assert short.endswith("\n(cut after 100 bytes; name fewer paths)\n")
    assert len(short) < 200
    assert "Invented" not in diff(repository.path, sha)


def test_the_diff_of_a_merge_is_what_it_brought(repository):
    repository.commit(a="1\n")
    repository.git("checkout", "-q", "-b", "side")
    repository.commit(b="1\n")
    repository.git("checkout", "-q", "main")
    repository.commit(c="1\n")
    repository.git("merge", "-q", "--no-ff", "-m", "m", "side")
    found = diff(repository.path, repository.git("rev-parse", "HEAD"))
    assert "b/b" in found
    assert "b/c" not in found


@pytest.mark.parametrize("sha", ["HEAD", "main", "0" * 40, "123", "--all", ""])
def test_a_diff_of_nothing_is_named(repository, sha):
    repository.commit(a="1")
    with pytest.raises(RefInvalid):
        diff(repository.path, sha)
