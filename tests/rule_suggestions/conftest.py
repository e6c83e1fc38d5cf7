"""A published day in memory: traces before an incident, during it, and during another of the same kind."""

import json
import random
import uuid
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from dagster_project.transformation.dbt_sql import shipped_sql
from dagster_project.warehouse.connection import migrate

NOON = datetime(2024, 5, 1, 12)
FIRST = (NOON, NOON + timedelta(hours=1))
SECOND = (NOON + timedelta(hours=6), NOON + timedelta(hours=7))


def usual(chance):
    """An order as it is handled on a good day; what differs between traces differs by chance."""
    spans = [
        {"name": "POST /orders", "service": "web"},
        {"name": "stock.reserve", "service": "stock"},
        {"name": "payment.charge", "service": "payments", "attributes": {"currency": chance.choice(["EUR", "USD"])}},
        *({"name": "db.query", "service": "stock"} for _ in range(chance.randint(1, 3))),
        {"name": "mail.send", "service": "mail"},
    ]
    if chance.random() < 0.5:
        spans.append({"name": "cache.get", "service": "web"})
    logs = [{"body": f"order {chance.randint(1, 10**6)} accepted", "severity": 9}]
    return spans, logs


class Day:
    """Traces and incidents that a test puts together; `published` is a connection as a generation has it."""

    def __init__(self):
        self.chance = random.Random(7)
        self.spans, self.logs, self.incidents = [], [], []

    def add(self, start, end, count, change=None, share=0.6):
        """`count` traces between two moments, `share` of them changed."""
        for number in range(count):
            at = start + (end - start) * (number / count)
            spans, logs = usual(self.chance)
            if change is not None and self.chance.random() < share:
                spans, logs = change(spans, logs)
            self._add(at, spans, logs)

    def incident(self, name, window, category="payments"):
        self.incidents.append((name, "incidents", f"Orders fail ({name})", "web", "shop", category, *window))

    def _add(self, at, spans, logs):
        trace = uuid.UUID(int=self.chance.getrandbits(128))
        for place, span in enumerate(spans):
            started = at + timedelta(milliseconds=20 * place)
            self.spans.append({
                "load_id": 1, "line": len(self.spans) + 1, "record": 1, "trace_id": str(trace),
                "span_id": place + 1, "parent_span_id": None if place == 0 else 1, "service_name": span["service"],
                "span_name": span["name"], "kind": 1, "started_at": started,
                "ended_at": started + timedelta(milliseconds=1), "status_code": span.get("status", 0),
                "dropped_attributes_count": 0, "dropped_events_count": 0, "dropped_links_count": 0,
                "attributes": json.dumps(span.get("attributes", {})),
            })  # fmt: skip
        for log in logs:
            self.logs.append({
                "load_id": 2, "line": len(self.logs) + 1, "record": 1, "trace_id": str(trace), "occurred_at": at,
                "severity_number": log["severity"], "body": log["body"], "dropped_attributes_count": 0,
            })  # fmt: skip

    def published(self):
        connection = duckdb.connect()
        migrate(connection)
        connection.execute("create schema staging; create schema intermediate; create schema marts")
        for table, rows in (("raw.spans", self.spans), ("raw.logs", self.logs)):
            connection.register("given", pa.Table.from_pylist(rows))
            connection.execute(f"insert into {table} by name select * from given")
        models = shipped_sql()
        for model, query in models.in_order(("stg_span_events", "stg_span_links", "int_traces")).items():
            connection.execute(f"create table {models.table(model)} as {query}")
        connection.execute("""
            create table marts.fct_incidents (
                incident_id varchar, system varchar, title varchar, service_name varchar, team varchar, category varchar
            );
            create table intermediate.int_incident_windows (
                incident_id varchar, system varchar, window_from timestamp, window_until timestamp
            );
            create table intermediate.int_incident_traces (incident_id varchar, trace_id uuid, period varchar);
        """)
        for identity, system, *described, start, end in self.incidents:
            connection.execute(
                "insert into marts.fct_incidents values (?, ?, ?, ?, ?, ?)", [identity, system, *described]
            )
            connection.execute("insert into intermediate.int_incident_windows values (?, ?, ?, ?)",
                               [identity, system, start, end])  # fmt: skip
        return connection


@pytest.fixture
def day():
    """Quiet traces before both incidents; a test adds those of the incidents."""
    made = Day()
    made.add(NOON - timedelta(hours=8), NOON, 240)
    made.add(NOON + timedelta(hours=2), SECOND[0], 120)
    made.incident("INC-1", FIRST)
    return made
