"""Every regular expression of what reads files takes linear time, whatever the file holds."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator

import pytest

from dagster_project import extraction, sources

SIZE = 20_000
LIMIT_SECONDS = 0.05
BOUNDED = {"_POD", "_CONTAINER", "decoding.elements._KEY"}  # a path; 512 bytes
ANCHORED = {"_FIRST_LINE", "_COUNTS", "_FILE"}  # only ever asked about the beginning
WORDS = "a 1 - _ / : = . a. a- by- a@ a@a. < [1] eyJ -eyJ eyJaaaaaaaaaa. :// AKIA 0123456789abcdef time= /repos/a/b"
PIECES = [*WORDS.split(), " ", "\t", "a ", '"', "\\", '\\"', '"type":', "Bearer ", "in row 1", "://" + ":" * 400]
STARTS = ["", "# HELP a ", "# TYPE a a", "eyJ", "bearer ", "<1>1 - a ", "Jan  1 00:00:00 a ", '{"a"', "a: ", "://"]


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    for package in (sources, extraction):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                for pattern in value if isinstance(value, list | tuple) else [value]:
                    where = f"{found.name}.{name}"
                    if isinstance(pattern, re.Pattern) and not where.endswith(tuple(BOUNDED)):
                        yield where, pattern


FOUND = dict(patterns())


def test_there_are_patterns():
    assert len(FOUND) > 20


@pytest.mark.parametrize("name", FOUND)
def test_a_long_text_is_read_in_linear_time(name):
    slow = []
    for start in STARTS:
        for piece in PIECES:
            text = start + piece * (SIZE // len(piece)) + "\n!"
            took = seconds(FOUND[name], text)
            if took > LIMIT_SECONDS:
                took = min(took, *(seconds(FOUND[name], text) for _ in range(3)))  # the machine may be busy
            if took > LIMIT_SECONDS:
                slow.append((start, piece, took))
                break
    assert slow == []


def seconds(pattern: re.Pattern[str] | re.Pattern[bytes], text: str) -> float:
    subject = text.encode() if isinstance(pattern.pattern, bytes) else text
    is_anchored = any(pattern is FOUND[name] for name in FOUND if name.rpartition(".")[2] in ANCHORED)
    began = time.process_time()
    (pattern.match if is_anchored else pattern.search)(subject)  # type: ignore[arg-type]
    pattern.fullmatch(subject)  # type: ignore[arg-type]
    return time.process_time() - began
