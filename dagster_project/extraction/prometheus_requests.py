"""Requests to the HTTP API of a Prometheus server: bounded in time, size and number of tries. Writes no file.

A token comes from the environment variable that the source names and from nowhere else; redirects are not followed,
as the token would go along.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn, Self, TypeVar

import orjson
import requests
import tenacity
from requests.auth import AuthBase

from dagster_project.extraction.outcome import ExtractionFailed
from dagster_project.sources.declaration import PrometheusServer

Kept = TypeVar("Kept")

_CHUNK_BYTES = 1 << 16
_ERROR_BYTES = 1 << 16  # of an answer that is an error
_TOO_BUSY = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Limits:
    """How patient and how thirsty a request is.

    Parameters
    ----------
    connect_seconds, silence_seconds
        How long to wait for a connection, and for the next bytes.
    answer_seconds
        How long a whole answer may take.
    answer_bytes
        How large it may be, unpacked.
    tries
        How often a request is made before giving up.
    longest_wait_seconds
        Between two tries, whatever the server asks for.
    """

    connect_seconds: float = 10
    silence_seconds: float = 120
    answer_seconds: float = 900
    answer_bytes: int = 2 << 30
    tries: int = 5
    longest_wait_seconds: float = 60


class ServerUnreachable(ExtractionFailed):
    """The server did not answer, or only with errors that may pass."""


class ServerRefused(ExtractionFailed):
    """The server will not answer this request, however often it is made."""


class AnswerTooLarge(ExtractionFailed):
    """An answer is larger, or takes longer, than the limits allow."""


class AnswerBroken(ValueError):
    """An answer is cut short or is none; the next one may be whole."""


class _TryAgain(Exception):
    """Something that may pass."""

    def __init__(self, what: str, wait_seconds: float | None = None) -> None:
        super().__init__(what)
        self.wait_seconds = wait_seconds


class Connection:
    """A server that is asked one thing after the other; a context manager."""

    def __init__(self, source: str, server: PrometheusServer, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._url = str(server.url).rstrip("/")
        if server.url.username or server.url.password:
            raise ServerRefused(
                f"source {source}: its url holds a name or a password; leave them out, and name the environment "
                "variable of a token under `token_env`"
            )
        self._session = requests.Session()
        self._session.auth = _Bearer(_token(source, server))
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def now(self) -> int:
        """The server's time, in seconds since 1970.

        Raises
        ------
        ExtractionFailed
            See `ask`.
        """

        def scalar(chunks: Iterable[bytes]) -> int:
            try:
                return int(orjson.loads(b"".join(chunks))["data"]["result"][0])
            except (ValueError, TypeError, LookupError, OverflowError) as error:
                raise AnswerBroken(f"it is no answer of Prometheus to the query time(): {error!r}") from error

        return self.ask("query", {"query": "time()"}, scalar)

    def ask(self, endpoint: str, parameters: Mapping[str, str | int], keep: Callable[[Iterable[bytes]], Kept]) -> Kept:
        """What `keep` makes of the bytes of an answer; it is called anew for every try.

        Raises
        ------
        ServerUnreachable
            After so many tries.
        ServerRefused
            A wrong query, a missing token, a redirect.
        AnswerTooLarge
            See `Limits`.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgain),
            stop=tenacity.stop_after_attempt(self._limits.tries),
            wait=self._wait,
            reraise=True,
        )
        try:
            kept: Kept = retrying(self._once, f"{self._url}/api/v1/{endpoint}", parameters, keep)
        except _TryAgain as error:
            raise ServerUnreachable(
                f"source {self._source}: {self._url} gave no answer after {self._limits.tries} tries: {error}; "
                "see whether it runs, then run again: what was fetched is kept"
            ) from error
        return kept

    def _once(self, url: str, parameters: Mapping[str, str | int], keep: Callable[[Iterable[bytes]], Kept]) -> Kept:
        timeouts = (self._limits.connect_seconds, self._limits.silence_seconds)
        try:
            # POST, as expressions may be longer than a URL; never followed elsewhere, as the token would be.
            found = self._session.post(url, data=parameters, timeout=timeouts, stream=True, allow_redirects=False)
            with closing(found):
                if found.status_code != requests.codes.ok:
                    self._failed(found, parameters)
                return keep(self._chunks(found))
        except AnswerBroken as error:
            raise _TryAgain(f"its answer is broken: {error}") from error
        except requests.exceptions.SSLError as error:
            raise ServerRefused(
                f"source {self._source}: {self._url}: its certificate is not trusted: {error}; "
                "name your authority's certificates in REQUESTS_CA_BUNDLE"
            ) from error
        except requests.exceptions.RequestException as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from error

    def _chunks(self, found: requests.Response) -> Iterator[bytes]:
        size, begun = 0, time.monotonic()
        for chunk in found.iter_content(_CHUNK_BYTES):
            size += len(chunk)
            if size > self._limits.answer_bytes:
                self._give_up_on(f"has more than {self._limits.answer_bytes} bytes")
            if time.monotonic() - begun > self._limits.answer_seconds:
                self._give_up_on(f"takes more than {self._limits.answer_seconds} s")
            yield chunk

    def _give_up_on(self, what: str) -> NoReturn:
        raise AnswerTooLarge(
            f"source {self._source}: an answer of {self._url} {what}; make `chunk_seconds` smaller, or narrow the query"
        )

    def _failed(self, found: requests.Response, parameters: Mapping[str, str | int]) -> NoReturn:
        told = _told(found)
        if found.status_code in _TOO_BUSY:
            raise _TryAgain(told, _retry_after(found))
        advice = {
            401: "name the environment variable of its token under `token_env`",
            403: "name the environment variable of its token under `token_env`",
            404: "the url is that of Prometheus itself, without /api/v1",
        }.get(found.status_code, "mend the query, its step or its chunks")
        if found.is_redirect:
            told = f"it redirects to {found.headers.get('Location')!r:.300}"
            advice = "redirects are not followed: write the address that it is meant to be into `url`"
        raise ServerRefused(
            f"source {self._source}: {self._url} refuses the query {parameters.get('query')!r:.300}: {told}; {advice}"
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.wait_seconds if isinstance(error, _TryAgain) else None
        wait = asked if asked is not None else 0.5 * 2 ** (state.attempt_number - 1)
        return min(max(wait, 0.0), self._limits.longest_wait_seconds)


class _Bearer(AuthBase):
    """Sends the token, when there is one; its being there keeps `requests` from looking into ~/.netrc."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _token(source: str, server: PrometheusServer) -> str | None:
    if server.token_env is None:
        return None
    token = os.environ.get(server.token_env, "").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ServerRefused(
            f"source {source}: the environment variable {server.token_env} holds no token; set it before you run this"
        )
    return token


def _told(found: requests.Response) -> str:
    """What an answer that is an error says."""
    start = next(found.iter_content(_ERROR_BYTES), b"")[:_ERROR_BYTES]
    said = f"HTTP {found.status_code} {found.reason}"
    try:
        error = orjson.loads(start)
        return f"{said}: {error['errorType']}: {error['error']!s:.500}"
    except (ValueError, TypeError, LookupError):
        return said


def _retry_after(found: requests.Response) -> float | None:
    """The seconds that the server asks to wait, which it says as a number or as a date."""
    text = found.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - datetime.now(UTC)).total_seconds()
