"""Container logs: CRI and docker's json-file, messages in parts, where a file comes from, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding import joined_lines
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.logs import container_logs
from dagster_project.sources.registry import FORMATS

TRACE = "7311d8a3c2ce6f447ed4d57b1e2feb89"
SPAN = "a6cecc1b78e51061"
UID = "6f447ed4-d57b-1e2f-8a3c-2ce6f447ed4d"


def cri(second: int, message: str, stream: str = "stdout", tag: str = "F") -> str:
    return f"2023-01-29T08:44:{second:02d}.123456789Z {stream} {tag} {message}"


def docker(second: int, message: str, stream: str = "stdout", **more: object) -> str:
    return json.dumps({"log": message, "stream": stream, "time": f"2023-01-29T08:44:{second:02d}.123456789Z"} | more)


def land(land_bytes, *lines: str):
    return land_bytes("container_logs", "\n".join(lines).encode(errors="surrogateescape") + b"\n")


def test_cri_lines_land_with_stream_and_trace_context(land_bytes, warehouse):
    landed = land(
        land_bytes,
        cri(1, f'{{"msg":"x","trace_id":"{TRACE}","span_id":"{SPAN}"}}'),
        cri(2, "  two  spaces", "stderr"),
        cri(3, "").rstrip(),
        cri(4, "zoned").replace("Z", "+01:00"),
    )
    assert [row["body"] for row in landed.rows][1:] == ["  two  spaces", "", "zoned"]
    assert (landed.rows[0]["trace_id"].hex, f"{landed.rows[0]['span_id']:x}") == (TRACE, SPAN)
    assert [json.loads(row["attributes"])["log.iostream"] for row in landed.rows][:2] == ["stdout", "stderr"]
    assert landed.rows[3]["occurred_at"].isoformat() == "2023-01-29T07:44:04.123456"
    assert warehouse.sql("select min(epoch_ns(occurred_at)) % 1000 from raw.logs").fetchall() == [(789,)]


def test_parts_are_joined_stream_by_stream(land_bytes):
    landed = land(
        land_bytes,
        cri(1, "a", tag="P"),
        cri(2, "x", "stderr", tag="P"),
        cri(3, "b", tag="P:more"),
        cri(4, "y", "stderr"),
        cri(5, "c"),
        cri(6, "d"),
        cri(7, "cut off", tag="P"),
    )
    assert [(row["line"], row["body"], row["occurred_at"].second) for row in landed.rows] == [
        (1, "abc", 1), (2, "xy", 2), (6, "d", 6), (7, "cut off", 7),
    ]  # fmt: skip


def test_docker_s_file_is_read_and_its_parts_joined(land_bytes):
    landed = land(
        land_bytes, docker(1, "a"), docker(2, "b\n"), docker(3, "c\n\n", attrs={"tag": "t"}), docker(4, "d\n", "stderr")
    )
    assert [(row["line"], row["body"]) for row in landed.rows] == [(1, "ab"), (3, "c\n"), (4, "d")]
    assert json.loads(landed.rows[1]["attributes"]) == {"log.iostream": "stdout", "attrs": {"tag": "t"}}


@pytest.mark.parametrize(
    ("line", "record", "reason"),
    [
        ("garbage", None, "row_malformed"),
        ("2023-01-29T08:44:04Z stdin F x", None, "row_malformed"),
        ("2023-01-29T08:44:04Z stdout X x", None, "row_malformed"),
        ('{"log":"x\\n"', None, "not_json"),
        ('{"stream":"stdout","time":"2023-01-29T08:44:04Z"}', None, "other_format"),
        ('{"log":"x\\n","stream":"stdout"}', 1, "time_missing"),
        ("yesterday stdout F x", 1, "time_malformed"),
        ("0001-01-01T00:00:00Z stdout F x", 1, "time_out_of_range"),
        (cri(1, "\udcff"), None, "not_utf8"),
    ],
)
def test_a_bad_line_is_refused_alone_and_divides_no_message(land_bytes, line, record, reason):
    landed = land(land_bytes, cri(1, "a", "stderr", "P"), line, "", cri(2, "b", "stderr"))
    assert [(row["line"], row["body"]) for row in landed.rows] == [(1, "ab")]
    assert landed.reasons == [(2, record, reason)]


def test_a_message_that_is_too_long_is_refused_and_the_next_lands(land_bytes, monkeypatch):
    monkeypatch.setattr(joined_lines, "JOINED_LIMIT_BYTES", 1000)
    limit = container_logs._SQL.replace(str(16 << 20), "1000")
    monkeypatch.setattr(container_logs, "_SQL", limit)
    landed = land(land_bytes, *(cri(1, "x" * 100, tag="P") for _ in range(20)), cri(2, "end"), cri(3, "next"))
    assert [row["body"] for row in landed.rows] == ["next"]
    assert [reason for *_, reason in landed.reasons] == ["line_too_long"]


@pytest.mark.parametrize("name", ["0.log", "3.log.20230129-084404"])
def test_the_path_says_where_a_log_comes_from(land_bytes, tmp_path, monkeypatch, name):
    folder = f"shop_web-1_{UID}/web"
    (tmp_path / folder).mkdir(parents=True)
    content = cri(1, "x").encode() + b"\n"
    (row,) = land_bytes("container_logs", content, f"{folder}/{name}").rows
    assert row["service_name"] == "web"
    assert json.loads(row["resource_attributes"]) == {
        "k8s.namespace.name": "shop", "k8s.pod.name": "web-1", "k8s.pod.uid": UID, "k8s.container.name": "web",
        "k8s.container.restart_count": int(name[0]),
    }  # fmt: skip
    declared = container_logs.FORMAT.with_options(ReadOptions(service_name="declared"))
    monkeypatch.setitem(FORMATS, "container_logs", declared)
    (row,) = land_bytes("container_logs", content + b"\n", f"{folder}/1.log").rows
    assert row["service_name"] == "declared"


def test_the_links_of_the_kubelet_name_pod_and_container():
    found = container_logs.of_path(Path(f"/var/log/containers/web-1_shop_web-{'a' * 64}.log"))
    assert (found["k8s.pod.name"], found["k8s.namespace.name"], found["k8s.container.name"]) == ("web-1", "shop", "web")
    assert container_logs.of_path(Path("/var/log/app.log")) == {}


LINES = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from("PF"), st.text(alphabet="ab é{", max_size=3)),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(lines=LINES, size=st.integers(1, 200))
def test_blocks_divide_no_message(tmp_path_factory, lines, size):
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes("".join(cri(1, text, stream, tag) + "\n" for stream, tag, text in lines).encode())
    expected: list[tuple[int, str]] = []
    waiting: dict[str, tuple[int, str]] = {}
    for number, (stream, tag, text) in enumerate(lines, 1):
        first, before = waiting.pop(stream, (number, ""))
        if tag == "P":
            waiting[stream] = (first, before + text)
        else:
            expected.append((first, before + text))
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container_logs.log_records, "BLOCK_BYTES", size)
        for batch in container_logs.FORMAT.batches(ByteStream(path), ReadOptions()):
            assert not batch.refusals
            found += [(row["line"], row["body"]) for table in batch.tables.values() for row in table.to_pylist()]
    assert sorted(found) == sorted([*expected, *waiting.values()])


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=300))
def test_no_bytes_end_a_load(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(b"\n" + content)
    for _ in container_logs.FORMAT.batches(ByteStream(path), ReadOptions()):
        pass


@pytest.mark.parametrize(
    ("head", "is_known"),
    [
        (cri(1, "x").encode(), True),
        (cri(1, "x").replace("Z", "+01:00").encode(), True),
        (docker(1, "x\n").encode(), True),
        (b"2023-01-29T08:44:04.123Z stdout is closed\n", False),
        (b'{"log":"x","stream":"web","time":"now"}', False),
        (b'{"time":"2023-01-29T08:44:04Z","message":"x"}', False),
    ],
)
def test_a_file_is_known_by_its_first_line(head, is_known):
    assert container_logs.FORMAT.recognises(head) is is_known
