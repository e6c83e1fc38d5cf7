"""A copy of the dbt project with small stand-ins for what `hindcast prepare` generates, and warehouses to run it on."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from dagster_project.warehouse.connection import connect, migrate

DBT = Path(__file__).parents[2] / "dbt"

RULES = """
select
    'slow'::varchar as rule_id, 'No span is slow' as title, 'A stand-in.' as description, 'high' as severity,
    'active' as status, 'web' as owner, 'shop' as domain, ['SOC2:CC7.2']::varchar[] as controls,
    'm1' as meaning_hash, []::varchar[] as group_by, 'trace' as scope_kind, 0::bigint as gap_ns,
    false as is_unconditional, ['total']::varchar[] as totalled, 'rules/shop/slow.yml' as file,
    sha256('slow') as file_sha256, 4::bigint as file_bytes, 'never: any(span())' as expression
"""
VERDICTS = """
select
    'slow'::varchar as rule_id, 'm1'::varchar as meaning_hash, 'trace'::varchar as scope_kind,
    trace_id::varchar as scope_key, [trace_id] as trace_ids,
    if(max(duration_ns) > 1000000000, 'violated', 'satisfied') as verdict, null::varchar as reason,
    min(started_at) as first_span_at, max(started_at) as last_span_at, min(started_on) as started_on,
    list_sort(list(distinct service_name)) as service_names, []::varchar[] as service_versions,
    [struct_pack(trace_id := trace_id, span_id := min(span_id))] as witness, '{}'::json as reported,
    md5(trace_id::varchar) as violation_id
from {{ ref('stg_spans') }}
group by trace_id
"""


class Project:
    """dbt on a copy of the project, in this process: parsed once, then run on one warehouse after another."""

    def __init__(self, root):
        self.root = root
        ignored = shutil.ignore_patterns("generated", "target", "logs", "__pycache__")
        shutil.copytree(DBT, root, ignore=ignored)
        self.generate(promoted=[], groups=["verdicts__trace"])

    def generate(self, *, promoted, groups):
        """Write the stand-ins: promoted attributes of spans, and the plan groups with their one rule, if any."""
        models, macros = self.root / "models/violations/generated", self.root / "macros/generated"
        for folder in (models, macros):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        (models / "rule_catalogue.sql").write_text(RULES + ("" if groups else "where false"))
        (models / "rule_null_keys.sql").write_text(
            "select null::varchar as rule_id, null::bigint as null_keys where false"
        )
        (macros / "code_version.sql").write_text("{% macro code_version() %}{{ return('1.0') }}{% endmacro %}")
        for group in groups:
            (models / f"{group}.sql").write_text(VERDICTS)
        listed = json.dumps({"span": promoted, "log": []})
        (macros / "plan_groups.sql").write_text(
            f"{{% macro plan_groups() %}}{{{{ return({groups}) }}}}{{% endmacro %}}"
        )
        (macros / "promoted_attributes.sql").write_text(
            f"{{% macro promoted_attributes(entity) %}}{{{{ return({listed}[entity]) }}}}{{% endmacro %}}"
        )
        self.manifest = None

    def run(self, warehouse, command="run", *arguments, **variables):
        """`dbt <command> <arguments>` on a warehouse; what failed is in the error.

        Models name the warehouse after its file, so that every warehouse of one project has the same file name.
        """
        self.parsed()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HINDCAST_WAREHOUSE", str(warehouse.path))
            result = self._invoke(
                dbtRunner(manifest=self.manifest), [command, *arguments, "--vars", json.dumps(variables)]
            )
        failed = [each for each in result.result or [] if each.status not in {"success", "pass"}]
        if result.exception or failed or not result.success:
            raise DbtFailed(result.exception or "\n".join(f"{each.node.name}: {each.message}" for each in failed))
        return {each.node.name for each in result.result}

    def parsed(self):
        """The file of what dbt has parsed."""
        if self.manifest is None:
            # Alike for every project: dbt parses anew where a variable that the profile reads has changed.
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HINDCAST_WAREHOUSE", "hindcast.duckdb")
                self.manifest = self._invoke(dbtRunner(), ["parse"]).result
        return self.root / "target/partial_parse.msgpack"

    def _invoke(self, runner, arguments):
        folders = ["--project-dir", self.root, "--profiles-dir", self.root]
        folders += ["--target-path", self.root / "target", "--log-path", self.root / "logs"]
        quiet = ["--quiet", "--no-send-anonymous-usage-stats", "--log-level-file", "none", "--no-write-json"]
        try:
            return runner.invoke([*arguments, *map(str, folders), *quiet])
        finally:
            # dbt keeps its connection for the next run of the process; a test opens the file itself.
            DuckDBConnectionManager.close_all_connections()


class DbtFailed(AssertionError):
    """dbt did not succeed."""


class Warehouse:
    """A warehouse file with its schema, opened for one statement at a time."""

    def __init__(self, path):
        self.path = path
        with connect(path) as connection:
            migrate(connection)

    def write(self, statement, parameters=()):
        with connect(self.path) as connection:
            connection.execute(statement, list(parameters))

    def rows(self, query):
        with connect(self.path, read_only=True) as connection:
            return connection.execute(query).fetchall()

    def insert_spans(self, spans):
        """Raw spans of dicts; what one does not say is of span 1 of trace 1 in the shop on 2024-01-01 at 10:00."""
        table = [USUAL_SPAN | {"record": number} | span for number, span in enumerate(spans, start=1)]
        self.write(INSERT_SPANS, [json.dumps(table)])

    def insert_payloads(self, table, payloads, **columns):
        """Raw incidents, tickets or deploys of payloads; `columns` name the keys that become columns of their own."""
        with connect(self.path) as connection:
            for number, payload in enumerate(payloads, start=1):
                values = {name: payload.get(key, key) for name, key in columns.items()}
                values |= {"load_id": 1, "line": number, "record": 1, "payload": json.dumps(payload)}
                names = ", ".join(values)
                marks = ", ".join("?" * len(values))
                connection.execute(f"insert into raw.{table} ({names}) values ({marks})", list(values.values()))


USUAL_SPAN = {
    "load_id": 1, "line": 1, "trace": 1, "span": 1, "parent": None, "service": "shop", "name": "buy", "kind": 2,
    "at": "2024-01-01 10:00:00", "seconds": 1, "attributes": None, "dropped": 0, "state": None,
}  # fmt: skip
INSERT_SPANS = """
insert into raw.spans by name
select
    s.load_id, s.line, s.record, ('00000000-0000-0000-0000-' || lpad(s.trace::varchar, 12, '0'))::uuid as trace_id,
    s.span as span_id, s.parent as parent_span_id, s.service as service_name, s.name as span_name, s.kind,
    s.at::timestamp_ns as started_at,
    make_timestamp_ns(epoch_ns(s.at::timestamp_ns) + s.seconds * 1000000000) as ended_at,
    0 as status_code, s.dropped as dropped_attributes_count, 0 as dropped_events_count, 0 as dropped_links_count,
    s.attributes::json as attributes, s.state as trace_state
from (
    select unnest(from_json(?::json, '[{"load_id":"BIGINT","line":"BIGINT","record":"BIGINT","trace":"BIGINT",
        "span":"UBIGINT","parent":"UBIGINT","service":"VARCHAR","name":"VARCHAR","kind":"UTINYINT","at":"VARCHAR",
        "seconds":"BIGINT","attributes":"VARCHAR","dropped":"UINTEGER","state":"VARCHAR"}]')) as s
)
"""


@pytest.fixture(scope="session")
def shared_project(tmp_path_factory):
    """The project as it is; not to be changed."""
    return Project(tmp_path_factory.mktemp("dbt") / "dbt")


@pytest.fixture
def own_project(tmp_path, shared_project):
    """A project whose generated files a test may change; dbt parses anew only what differs from the shared one."""
    project = Project(tmp_path / "dbt")
    (project.root / "target").mkdir()
    shutil.copyfile(shared_project.parsed(), project.root / "target/partial_parse.msgpack")
    return project


@pytest.fixture
def make_warehouse(tmp_path):
    """Makes empty warehouses by name."""

    def make(name="only"):
        (tmp_path / name).mkdir()
        return Warehouse(tmp_path / name / "hindcast.duckdb")

    return make


@pytest.fixture
def warehouse(make_warehouse):
    return make_warehouse()


@pytest.fixture
def differences():
    """The names of tables whose rows differ between two warehouses, whatever the order of rows and columns."""

    def compare(one, other, schemas=("staging", "intermediate", "violations", "marts")):
        with duckdb.connect() as connection:
            connection.execute(f"attach '{one.path}' as one (read_only)")
            connection.execute(f"attach '{other.path}' as other (read_only)")
            left, right = (_tables(connection, catalog, schemas) for catalog in ("one", "other"))
            assert left, "nothing was built"
            return {name for name in left | right if not _are_equal(connection, name, left & right)}

    return compare


def _tables(connection, catalog, schemas):
    names = connection.execute(
        "select table_schema || '.' || table_name from information_schema.tables"
        " where table_catalog = ? and list_contains(?, table_schema)",
        [catalog, list(schemas)],
    ).fetchall()
    return {name for (name,) in names}


def _are_equal(connection, name, in_both):
    if name not in in_both:
        return False
    columns = [sorted(connection.sql(f"select * from {catalog}.{name}").columns) for catalog in ("one", "other")]
    listed = ", ".join(f'"{column}"' for column in columns[0])
    one, other = (f"select {listed} from {catalog}.{name}" for catalog in ("one", "other"))
    unlike = f"select count(*) from (({one} except all {other}) union all ({other} except all {one}))"
    return columns[0] == columns[1] and connection.execute(unlike).fetchall() == [(0,)]
