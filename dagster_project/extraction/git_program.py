"""Runs the `git` program on a repository that nobody trusts. What is asked of it, other modules say.

A repository's own configuration can name programs: file watchers, hooks, diff tools, converters, signature checkers,
transports. Everything here is run so that none of them is: no shell, an environment of our own, each of those switches
turned off on the command line, which wins over the repository, and a limit of time.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dagster_project.extraction.outcome import ExtractionFailed

TIME_LIMIT_SECONDS = 3600.0  # the largest public histories take minutes
OUTPUT_LIMIT_BYTES = 64 << 20  # of answers that are held as a whole: lists of refs
OLDEST_GIT = (2, 30)

_SWITCHES = (
    "--no-pager",
    "--no-replace-objects",
    "--literal-pathspecs",
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.attributesFile=/dev/null"),
    *("-c", "core.pager=cat"),
    *("-c", "core.sshCommand=false"),
    *("-c", "core.askPass=false"),
    *("-c", "core.bigFileThreshold=64m"),  # larger files are compared as binary ones: git holds what it compares
    *("-c", "credential.helper="),
    *("-c", "diff.external="),
    *("-c", "gpg.program=false"),
    *("-c", "log.showSignature=false"),
    *("-c", "log.showRoot=true"),
    *("-c", "protocol.allow=never"),
    *("-c", "submodule.recurse=false"),
)
DIFF_SWITCHES = (
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-relative",
    "--submodule=short",
    "--ignore-submodules=none",
    "-O/dev/null",
    "-M",
)
# Who declared the repository as a source wants it read, whoever owns it; nothing in it is run. Git heeds this setting
# only where the user's configuration is, and before 2.38 not on the command line.
_CONFIGURATION = "[safe]\n\tdirectory = *\n"
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone must not fetch what it lacks, least of all through a program
    "GIT_ASKPASS": "false",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
}


class GitError(ExtractionFailed):
    """The repository could not be read; the message says what to do."""


class GitMissing(GitError):
    """There is no `git` program, or one that is too old."""


class NotARepository(GitError):
    """The declared folder is no git repository."""


class GitTimedOut(GitError):
    """`git` took longer than the limit."""


@dataclass(frozen=True)
class Git:
    """One repository, and the program that reads it.

    Parameters
    ----------
    repository
        Its folder, a bare one or one with a `.git`; a folder inside of another repository does not count.
    time_limit
        Seconds that one run may take.
    """

    repository: Path
    time_limit: float = TIME_LIMIT_SECONDS

    def answer(self, *arguments: str, stdin: bytes = b"", expected: Sequence[int] = (0,)) -> tuple[int, bytes]:
        """Exit code and output of a short command; any code that is not `expected` is a `GitError`."""
        with self._running(arguments, stdin) as run:
            output = run.stdout.read(OUTPUT_LIMIT_BYTES + 1)
            if len(output) > OUTPUT_LIMIT_BYTES:
                raise GitError(f"{self.repository}: git {arguments[0]} answered with over {OUTPUT_LIMIT_BYTES} bytes")
            code = run.finish(expected)
        return code, output

    @contextmanager
    def stream(self, *arguments: str, stdin: bytes = b"") -> Iterator[IO[bytes]]:
        """The output while it comes; when it is left before its end the program is ended, and its code not asked."""
        with self._running(arguments, stdin) as run:
            yield run.stdout
            if run.stdout.read(1) == b"":
                run.finish((0,))

    @contextmanager
    def _running(self, arguments: Sequence[str], stdin: bytes) -> Iterator[_Run]:
        if not self.repository.is_dir():
            raise NotARepository(f"{self.repository}: no such folder; mend `repository`, or clone it there")
        command = [_program(), "-C", str(self.repository), *_SWITCHES, *arguments]
        with (
            tempfile.TemporaryDirectory(prefix="hindcast-git-") as home,
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as complaints,
        ):
            Path(home, ".gitconfig").write_text(_CONFIGURATION, "ascii")
            environment = _ENVIRONMENT | {
                "HOME": home,
                "PATH": os.environ.get("PATH", os.defpath),
                "GIT_CEILING_DIRECTORIES": str(self.repository.parent),
            }
            given.write(stdin)
            given.seek(0)
            process = subprocess.Popen(  # noqa: S603  no shell; the switches above disarm the repository
                command,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=environment,
                start_new_session=True,
            )
            run = _Run(self, arguments[0], process, complaints)
            watch = threading.Timer(self.time_limit, run.time_out)
            watch.daemon = True
            watch.start()
            try:
                yield run
            finally:
                watch.cancel()
                run.end()

    @staticmethod
    def version() -> tuple[int, ...]:
        """Such as (2, 39, 5). Raises `GitMissing` when there is none, or none that is new enough."""
        shown = subprocess.run(  # noqa: S603  a fixed command
            [_program(), "--version"], capture_output=True, check=False, timeout=60, env=_ENVIRONMENT
        ).stdout.decode(errors="replace")
        found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", shown)
        numbers = tuple(int(number or 0) for number in found.groups()) if found else ()
        if numbers < OLDEST_GIT:
            raise GitMissing(f"`git --version` says {shown.strip()[:80]!r}; git 2.30 or later is needed: install it")
        return numbers


@dataclass
class _Run:
    git: Git
    name: str
    process: subprocess.Popen[bytes]
    complaints: IO[bytes]
    is_over_time: bool = False

    @property
    def stdout(self) -> IO[bytes]:
        if self.process.stdout is None:
            raise GitError("the output of git is not read")
        return self.process.stdout

    def time_out(self) -> None:
        self.is_over_time = True
        self._kill()

    def finish(self, expected: Sequence[int]) -> int:
        code = self.process.wait()
        if self.is_over_time:
            raise GitTimedOut(
                f"{self.git.repository}: git {self.name} took longer than {self.git.time_limit:.0f} s and was ended; "
                "declare `since`, or fewer branches"
            )
        if code not in expected:
            raise self._error(code)
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self._kill()
        self.stdout.close()
        self.process.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _error(self, code: int) -> GitError:
        self.complaints.seek(0)
        said = self.complaints.read(2000).decode(errors="replace").strip()
        if "not a git repository" in said:
            return NotARepository(
                f"{self.git.repository} is not a git repository; name the folder that holds `.git`, or a bare clone"
            )
        if "promisor" in said or "lazy fetching" in said:
            return GitError(
                f"{self.git.repository} is a partial clone, which lacks the contents that changed; clone it without "
                f"--filter (git {self.name} ended with {code}: {said})"
            )
        return GitError(f"{self.git.repository}: git {self.name} ended with {code}: {said}")


def _program() -> str:
    found = shutil.which("git")
    if found is None:
        raise GitMissing("there is no program `git` on the path; install it (Debian: apt-get install git)")
    return found
