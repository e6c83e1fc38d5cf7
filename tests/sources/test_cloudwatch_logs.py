"""CloudWatch Logs: exports, answers of the API, subscriptions, messages of several lines, and what is refused."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.sources.decoding import joined_lines
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.logs import cloudwatch_logs

AT = "2023-01-29T08:44:04.123Z"
MS = 1674981844123


def documents(*events: object, group: str = "/aws/lambda/shop", stream: str = "2023/01/29/[$LATEST]1") -> dict:
    return {
        "messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": group, "logStream": stream,
        "subscriptionFilters": ["all"], "logEvents": list(events),
    }  # fmt: skip


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def test_lines_without_a_time_go_on_with_the_message_before(land_bytes):
    content = f"{AT} START\n{AT} Traceback:\n  File\n\n\tError: x\n2023-01-29T08:44:05.000Z\n{AT} END\nof it".encode()
    landed = land_bytes("cloudwatch_logs", gzip.compress(content), "000000.gz")
    assert [(row["line"], row["body"]) for row in landed.rows] == [
        (1, "START"), (2, "Traceback:\n  File\n\n\tError: x"), (6, ""), (7, "END\nof it"),
    ]  # fmt: skip
    assert landed.rows[0]["occurred_at"].isoformat() == "2023-01-29T08:44:04.123000"
    assert landed.reasons == []


def test_lines_before_the_first_time_are_refused_together(land_bytes):
    landed = land_bytes("cloudwatch_logs", f"lost\nlines\n{AT} found\n".encode())
    assert [row["body"] for row in landed.rows] == ["found"]
    assert landed.reasons == [(1, 1, "time_missing")]


@pytest.mark.parametrize("time", ["2023-02-30T08:44:04.123Z", "2023-01-29T25:44:04.123Z"])
def test_a_time_that_is_none_is_refused(land_bytes, time):
    landed = land_bytes("cloudwatch_logs", f"{AT} a\n{time} b\n{AT} c\n".encode())
    assert [row["body"] for row in landed.rows] == ["a", "c"]
    assert landed.reasons == [(2, 1, "time_malformed")]


def test_a_line_that_is_not_utf_8_is_refused_and_its_message_lands(land_bytes):
    landed = land_bytes("cloudwatch_logs", f"{AT} a\nb\n".encode() + b"\xff\n" + b"c\n")
    assert [row["body"] for row in landed.rows] == ["a\nb\nc"]
    assert landed.reasons == [(3, None, "not_utf8")]


def test_a_message_that_is_too_long_is_refused_and_the_next_lands(land_bytes, monkeypatch):
    monkeypatch.setattr(joined_lines, "JOINED_LIMIT_BYTES", 1000)
    monkeypatch.setattr(cloudwatch_logs, "_TEXT_SQL", cloudwatch_logs._TEXT_SQL.replace(str(16 << 20), "1000"))
    content = f"{AT} a\n" + "x" * 100 + ("\n" + "x" * 100) * 20 + f"\n{AT} next\n"
    landed = land_bytes("cloudwatch_logs", content.encode())
    assert [row["body"] for row in landed.rows] == ["next"]
    assert [reason for *_, reason in landed.reasons] == ["line_too_long"]


@pytest.mark.parametrize("indent", [None, 4])
def test_the_answer_of_the_api_is_read(land_bytes, indent):
    events = [
        {"logStreamName": "web/1", "timestamp": MS, "message": "a", "ingestionTime": MS + 1, "eventId": "7"},
        {"timestamp": MS, "message": "traceId: 7311d8a3c2ce6f447ed4d57b1e2feb89"},
        {"message": "no time"},
        {"timestamp": "noon", "message": "x"},
        5,
        {"timestamp": MS, "message": "last"},
    ]
    landed = land_bytes("cloudwatch_logs", json.dumps({"events": events, "nextToken": "x"}, indent=indent).encode())
    first, second, last = landed.rows
    assert [row["line"] for row in landed.rows] == [1, 2, 6]
    assert (first["body"], first["observed_at"].isoformat()) == ("a", "2023-01-29T08:44:04.124000")
    assert json.loads(first["attributes"]) == {"eventId": "7"}
    assert json.loads(first["resource_attributes"]) == {"aws.log.stream.names": ["web/1"]}
    assert second["trace_id"].hex == "7311d8a3c2ce6f447ed4d57b1e2feb89"
    assert last["body"] == "last"
    assert landed.reasons == [(3, 1, "time_missing"), (4, 1, "time_malformed"), (5, 1, "structure")]


@pytest.mark.parametrize("between", [b"", b"\n"])
def test_documents_of_a_subscription_follow_each_other(land_bytes, between):
    events = [{"id": "1", "timestamp": MS, "message": "a"}, {"id": "2", "timestamp": MS, "message": '}{"messageType"'}]
    content = between.join([compact(documents(*events)), compact(documents(events[0], 7, group="/ecs/pay"))])
    landed = land_bytes("cloudwatch_logs", content)
    assert [(row["line"], row["record"], row["service_name"], row["body"]) for row in landed.rows] == [
        (1, 1, "shop", "a"), (1, 2, "shop", '}{"messageType"'), (2, 1, "pay", "a"),
    ]  # fmt: skip
    assert json.loads(landed.rows[0]["resource_attributes"]) == {
        "aws.log.group.names": ["/aws/lambda/shop"], "aws.log.stream.names": ["2023/01/29/[$LATEST]1"]
    }  # fmt: skip
    assert json.loads(landed.rows[0]["attributes"]) == {"id": "1"}
    assert landed.reasons == [(2, 2, "structure")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"{", "not_json"), (b'{"logEvents":{}}', "other_format"), (b"{}", "other_format"), (b"[]", "other_format")],
)
def test_a_document_of_another_kind_is_refused_as_a_whole(land_bytes, line, reason):
    good = compact(documents({"id": "1", "timestamp": MS, "message": "a"}))
    landed = land_bytes("cloudwatch_logs", b"\n".join([good, line, good]))
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, None, reason)]


LINES = st.lists(st.sampled_from([f"{AT} a", f"{AT}", " b", "", "é", f"x {AT}"]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(lines=LINES, size=st.integers(1, 200))
def test_blocks_divide_no_message(tmp_path_factory, lines, size):
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes("".join(line + "\n" for line in [f"{AT} first", *lines]).encode())
    expected = [(1, "first")]
    for number, line in enumerate(lines, 2):
        if line.startswith(AT):
            expected.append((number, line[len(AT) + 1 :]))
        else:
            expected[-1] = (expected[-1][0], f"{expected[-1][1]}\n{line}")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cloudwatch_logs.log_records, "BLOCK_BYTES", size)
        for batch in cloudwatch_logs.FORMAT.batches(ByteStream(path), ReadOptions()):
            assert not batch.refusals
            found += [(row["line"], row["body"]) for table in batch.tables.values() for row in table.to_pylist()]
    assert found == expected


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=300), start=st.sampled_from([b"", b"{", b'{"logEvents":[', b'{"events":[']))
def test_no_bytes_end_a_load(tmp_path_factory, content, start):
    path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(b"\n" + start + content)
    for _ in cloudwatch_logs.FORMAT.batches(ByteStream(path), ReadOptions()):
        pass


@pytest.mark.parametrize(
    ("head", "is_known"),
    [
        (f"{AT} x\n".encode(), True),
        (compact(documents()), True),
        (b'{\n  "events": [\n    {"timestamp": 1, "message": "m", "ingestionTime": 2}\n  ]\n}', True),
        (b'{"events": [{"id": 1, "message": "m"}]}', False),
        (f"{AT} stdout F x\n".encode(), False),
        (b"2023-01-29 08:44:04 x\n", False),
        (b'{"resourceLogs":[]}', False),
    ],
)
def test_a_file_is_known_by_its_start(head, is_known):
    assert cloudwatch_logs.FORMAT.recognises(head) is is_known
