"""Pulling from Prometheus: a real one that scrapes an exporter of the test's own, and servers that misbehave."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from dagster_project.extraction.outcome import ExtractionFailed
from dagster_project.extraction.prometheus_requests import AnswerTooLarge, Limits, ServerRefused, ServerUnreachable
from dagster_project.extraction.prometheus_server import QueryChanged, Window, extract, missing_windows
from dagster_project.sources.declaration import PrometheusServer
from dagster_project.sources.metrics import prometheus
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import InputFile, land

NOW = 1_700_000_000
START = NOW - 300
VARIABLE = "SHOP_TOKEN"
FAST = Limits(connect_seconds=2, silence_seconds=1, answer_seconds=3, tries=3, longest_wait_seconds=0.05)


def silent(_source: str, _done: int, _to_do: int | None) -> None:
    return


def asked(url: str, **changes: Any) -> PrometheusServer:
    fields = {
        "url": url,
        "queries": {"cpu": "cpu"},
        "start": datetime.fromtimestamp(START, UTC),
        "step_seconds": 10,
        "chunk_seconds": 100,
        "lag_seconds": 0,
    }
    return PrometheusServer.model_validate(fields | changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json.gz"))}


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "until", "last", "expected"),
    [
        ([], 350, None, [(50, 100), (100, 200), (200, 300)]),
        ([], 300, 270, [(50, 100), (100, 200), (200, 270)]),
        ([], 260, 270, [(50, 100), (100, 200)]),
        ([(50, 100), (200, 300)], 500, None, [(100, 200), (300, 400), (400, 500)]),
        ([(50, 170)], 300, None, [(170, 200), (200, 300)]),  # asked with larger chunks before
        ([(100, 130), (130, 200)], 300, None, [(50, 100), (200, 300)]),  # the start was moved back
        ([(0, 1000)], 900, 800, []),
    ],
)
def test_windows_without_a_file(known, until, last, expected):
    found = missing_windows(50, last, 100, until, [Window(*window) for window in known])
    assert [(window.start, window.end) for window in found] == expected


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 50),
    st.integers(1, 12),
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 90)), max_size=5),
)
def test_every_moment_is_asked_for_once(first, chunk, until, stretches):
    known: list[Window] = []
    for start, length in sorted(stretches):
        if not known or start >= known[-1].end:
            known.append(Window(start, start + length))
    found = list(missing_windows(first, None, chunk, until, known))
    moments = [at for window in [*known, *found] for at in range(window.start, window.end)]
    assert len(moments) == len(set(moments))
    assert set(range(first, until // chunk * chunk)) <= set(moments)
    assert all(window.end <= until and window.end - window.start <= chunk for window in found)


# --- a real server ----------------------------------------------------------------------------------------------------


class Exporter:
    """What it was asked for is known: a constant, and the number of the scrape."""

    def __init__(self) -> None:
        self.scrapes = 0

    def collect(self) -> Iterator[Any]:
        self.scrapes += 1
        constant = GaugeMetricFamily("shop_temperature", "constant", labels=["room", "service"])
        constant.add_metric(['a "quoted"\\ \n room \u00e9'], 42.125)
        yield constant
        scrapes = CounterMetricFamily("shop_scrapes", "of this")
        scrapes.add_metric([], self.scrapes)
        yield scrapes


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no program `prometheus`: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    registry = CollectorRegistry()
    registry.register(Exporter())  # type: ignore[arg-type]
    exporter, exporter_thread = start_http_server(0, "127.0.0.1", registry)
    target = f"127.0.0.1:{exporter.server_address[1]}"
    scraping = {"job_name": "shop", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
    configuration = folder / "prometheus.json"  # JSON is YAML
    configuration.write_text(json.dumps({"scrape_configs": [scraping]}))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(lambda: requests.get(f"http://{address}/-/ready", timeout=1).ok, 15)
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(10)
            exporter.shutdown()
            exporter_thread.join(5)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (requests.RequestException, LookupError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"nothing after {seconds} s")


QUERIES = {"temperature": "shop_temperature", "scrapes": "shop_scrapes_total", "doubled": "sum(shop_temperature) * 2"}


def test_a_real_server_is_pulled_landed_and_pulled_no_further(real_server, tmp_path):
    def answer(expression: str, **times: float) -> list[Any]:
        kind = "query_range" if times else "query"
        found = requests.get(f"{real_server}/api/v1/{kind}", {"query": expression, **times}, timeout=5)
        return list(found.json()["data"]["result"])

    wait_for(lambda: float(answer("shop_scrapes_total")[0]["value"][1]) >= 5, 15)
    end = int(time.time())
    start = end - 8
    server = asked(
        real_server,
        queries=QUERIES,
        start=datetime.fromtimestamp(start, UTC),
        until=datetime.fromtimestamp(end - 1, UTC),
        step_seconds=1,
        chunk_seconds=3,
    )
    # Killed after two files, and run again.
    stopped = tmp_path / "stopped"

    def kill(_source: str, done: int, _to_do: int | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract("shop", server, stopped, kill)
    assert len(contents(stopped)) == 2
    resumed = extract("shop", server, stopped, silent)
    at_once = extract("shop", server, tmp_path / "at once", silent)
    assert (resumed.already_there, resumed.message) == (2, None)
    assert contents(stopped) == contents(tmp_path / "at once")
    assert extract("shop", server, stopped, silent).written == ()
    assert not list(stopped.rglob("*.part"))

    with connect(":memory:") as connection:
        migrate(connection)
        summary = land(connection, [InputFile(path, prometheus.FORMAT) for path in at_once.written])
        assert not summary.has_failed
        rows = connection.execute(
            "select metric_name, epoch_ns(observed_at) // 1000000000, value, labels ->> 'room' from raw.metric_points"
        ).fetchall()
    expected = [
        (series["metric"].get("__name__", name), at, float(value), series["metric"].get("room"))
        for name, expression in QUERIES.items()
        for series in answer(expression, start=start, end=end - 1, step=1)
        for at, value in series["values"]
    ]
    assert sorted(rows, key=str) == sorted(expected, key=str)
    assert {row[2:] for row in rows if row[0] == "shop_temperature"} == {(42.125, 'a "quoted"\\ \n room \u00e9')}
    assert {row[2] for row in rows if row[0] == "doubled"} == {84.25}
    scrapes = [value for name, _, value, _ in sorted(rows) if name == "shop_scrapes_total"]
    assert len(scrapes) >= 3
    assert scrapes == sorted(scrapes)


def test_a_real_server_says_what_is_wrong_with_a_query(real_server, tmp_path):
    start = datetime.now(UTC) - timedelta(hours=1)
    with pytest.raises(ServerRefused, match="parse error"):
        extract("shop", asked(real_server, queries={"cpu": "sum(("}, start=start), tmp_path, silent)


# --- a server that misbehaves -----------------------------------------------------------------------------------------


def matrix(start: int, end: int, step: int) -> bytes:
    values = [[at, str(at % 97)] for at in range(start, end + 1, step)]
    result = [{"metric": {"__name__": "cpu"}, "values": values}]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


class Answering(BaseHTTPRequestHandler):
    """Answers like Prometheus, after `server.tricks` have been played, one a request for a range."""

    server: FakeServer

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.tokens.append(self.headers.get("Authorization"))
        if self.path.endswith("/query"):
            return self.send(json.dumps({"status": "success", "data": {"result": [NOW, str(NOW)]}}).encode())
        self.server.asked.append((int(form["start"][0]), int(form["end"][0])))
        if self.server.tricks:
            return self.server.tricks.pop(0)(self)
        return self.send(matrix(*self.server.asked[-1], int(form["step"][0])))

    def send(self, content: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


class FakeServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.tricks: list[Callable[[Answering], None]] = []
        self.asked: list[tuple[int, int]] = []
        self.tokens: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def error(status: int, **headers: str) -> Callable[[Answering], None]:
    content = json.dumps({"status": "error", "errorType": "execution", "error": "too many samples"}).encode()
    return lambda handler: handler.send(content, status, **headers)


def raw(content: bytes, **headers: str) -> Callable[[Answering], None]:
    return lambda handler: handler.send(content, **headers)


def cut(handler: Answering) -> None:
    handler.send(matrix(START, NOW, 10)[:200], length=100_000)
    handler.close_connection = True


def silence(_handler: Answering) -> None:
    time.sleep(1.5)


def test_windows_do_not_overlap_and_what_has_not_ended_is_not_asked_for(fake, tmp_path):
    found = extract("shop", asked(fake.url, lag_seconds=20), tmp_path, silent)
    assert fake.asked == [(START, START + 90), (START + 100, START + 190)]
    assert [path.name for path in found.written] == [
        "20231114T220820Z-20231114T221000Z.json.gz",
        "20231114T221000Z-20231114T221140Z.json.gz",
    ]
    points = [
        at
        for path in found.written
        for at, _ in json.loads(gzip.decompress(path.read_bytes()))["data"]["result"][0]["values"]
    ]
    assert points == list(range(START, START + 200, 10))
    # Later, the rest.
    assert [path.name for path in extract("shop", asked(fake.url), tmp_path, silent).written] == [
        "20231114T221140Z-20231114T221320Z.json.gz"
    ]


def test_a_chunk_never_has_more_points_than_a_server_gives(fake, tmp_path):
    start = datetime.fromtimestamp(NOW, UTC) - timedelta(days=10)
    extract("shop", asked(fake.url, start=start, chunk_seconds=10**6), tmp_path, silent)
    assert max((end - begin) // 10 + 1 for begin, end in fake.asked) <= 11_000


@pytest.mark.parametrize(
    "tricks",
    [
        [error(429, Retry_After="0")],
        [error(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), error(500)],
        [error(503, Retry_After="soon")],
        [cut],
        [cut, cut],
        [silence],
        [raw(b"garbage")],
        [raw(b"")],
        [raw(b"{}")],
        [raw(matrix(START, NOW, 10)[:-20])],
        [raw(b"no gzip", Content_Encoding="gzip")],
        [raw(b'{"status":"success","data":{"resultType":"vector","result":[]}}')],
    ],
)
def test_what_passes_is_waited_for_and_the_file_is_the_same(fake, tmp_path, tricks):
    fake.tricks = list(tricks)
    extract("shop", asked(fake.url), tmp_path / "bad", silent, FAST)
    extract("shop", asked(fake.url), tmp_path / "good", silent, FAST)
    assert contents(tmp_path / "bad") == contents(tmp_path / "good")
    assert len(contents(tmp_path / "good")) == 3


@pytest.mark.parametrize("trick", [error(503), cut, raw(b"garbage")])
def test_after_some_tries_it_gives_up_and_keeps_what_it_has(fake, tmp_path, trick):
    fake.tricks = [lambda handler: handler.send(matrix(START, START + 90, 10)), *[trick] * 3]
    with pytest.raises(ServerUnreachable, match="after 3 tries"):
        extract("shop", asked(fake.url), tmp_path, silent, FAST)
    assert len(contents(tmp_path)) == 1
    assert len(fake.asked) == 4
    assert not list(tmp_path.rglob("*.part"))
    extract("shop", asked(fake.url), tmp_path, silent, FAST)
    assert len(contents(tmp_path)) == 3


def test_retry_after_is_heeded_within_bounds(fake, tmp_path):
    fake.tricks = [error(429, Retry_After="1")]
    begun = time.monotonic()
    extract("shop", asked(fake.url), tmp_path, silent, Limits(longest_wait_seconds=5))
    assert 1 <= time.monotonic() - begun < 4
    fake.tricks = [error(429, Retry_After="86400")]
    begun = time.monotonic()
    extract("shop", asked(fake.url), tmp_path / "bounded", silent, FAST)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("trick", "words"),
    [
        (error(400), "too many samples"),
        (error(422), "too many samples"),
        (error(401), "token_env"),
        (error(404), "url"),
        (error(302, Location="http://elsewhere.example/"), "elsewhere.example"),
        (raw(b"x" * 5000), "chunk_seconds"),
    ],
)
def test_what_does_not_pass_is_not_tried_again(fake, tmp_path, trick, words):
    fake.tricks = [trick]
    limits = Limits(tries=3, longest_wait_seconds=0.05, answer_bytes=4000)
    with pytest.raises((ServerRefused, AnswerTooLarge), match=words) as caught:
        extract("shop", asked(fake.url), tmp_path, silent, limits)
    assert isinstance(caught.value, ExtractionFailed)
    assert len(fake.asked) == 1
    assert contents(tmp_path) == {}


def test_a_query_that_is_refused_does_not_keep_the_others_from_being_asked(fake, tmp_path):
    fake.tricks = [error(400)]
    with pytest.raises(ServerRefused, match=r"query bad: .*too many samples.*; 3 files written") as caught:
        extract("shop", asked(fake.url, queries={"bad": "typo", "ok": "up"}), tmp_path, silent, FAST)
    assert "query ok" not in str(caught.value)
    assert {name.split("/")[0] for name in contents(tmp_path)} == {"ok"}
    assert len(fake.asked) == 4


def test_a_server_that_is_gone_is_not_asked_by_every_query(fake, tmp_path):
    fake.tricks = [error(503)] * 6
    with pytest.raises(ServerUnreachable, match=r"query a: .*after 3 tries"):
        extract("shop", asked(fake.url, queries={"a": "up", "b": "up"}), tmp_path, silent, FAST)
    assert len(fake.asked) == 3


def test_an_answer_that_trickles_is_given_up(fake, tmp_path):
    def trickle(handler: Answering) -> None:
        handler.send(b"", length=10**9)
        for _ in range(40):
            handler.wfile.write(b" " * 70_000)
            handler.wfile.flush()
            time.sleep(0.05)

    fake.tricks = [trickle]
    with pytest.raises(AnswerTooLarge, match=r"0\.3 s"):
        extract("shop", asked(fake.url), tmp_path, silent, Limits(answer_seconds=0.3))


def test_a_bomb_of_zeros_is_given_up(fake, tmp_path):
    fake.tricks = [raw(gzip.compress(bytes(20_000_000)), Content_Encoding="gzip")]
    with pytest.raises(AnswerTooLarge, match="1000000 bytes"):
        extract("shop", asked(fake.url), tmp_path, silent, Limits(answer_bytes=1_000_000))


def test_no_server_is_told(tmp_path):
    with pytest.raises(ServerUnreachable, match="run again"):
        extract("shop", asked(f"http://127.0.0.1:{free_port()}"), tmp_path, silent, FAST)


def test_the_token_comes_from_the_variable_and_from_nowhere_else(fake, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    extract("shop", asked(fake.url), tmp_path / "without", silent)
    assert set(fake.tokens) == {None}
    fake.tokens.clear()
    monkeypatch.setenv(VARIABLE, "abc\n")
    extract("shop", asked(fake.url, token_env=VARIABLE), tmp_path / "with", silent)
    assert set(fake.tokens) == {"Bearer abc"}
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ServerRefused, match=VARIABLE):
        extract("shop", asked(fake.url, token_env=VARIABLE), tmp_path / "missing", silent)
    with pytest.raises(ValueError, match="token_env"):
        asked(fake.url.replace("//", "//me:hush@"))


def test_another_expression_under_the_same_name_is_refused(fake, tmp_path):
    extract("shop", asked(fake.url), tmp_path, silent)
    with pytest.raises(QueryChanged, match="another name"):
        extract("shop", asked(fake.url, queries={"cpu": "rate(cpu[5m])"}), tmp_path, silent)


def test_warnings_of_the_server_are_passed_on(fake, tmp_path):
    content = matrix(START, START + 90, 10)[:-1] + b', "warnings": ["one store did not answer"]}'
    fake.tricks = [raw(content)]
    message = extract("shop", asked(fake.url), tmp_path, silent).message
    assert message is not None
    assert "one store did not answer" in message
