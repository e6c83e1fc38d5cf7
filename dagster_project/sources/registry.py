"""The formats that Hindcast reads. A new one is a module of this package and a line here."""

from __future__ import annotations

from dagster_project.sources.changes import (
    argocd,
    configuration_changes,
    deploys,
    feature_flags,
    git_history,
    github_deployments,
    image_tag_bumps,
    launchdarkly,
)
from dagster_project.sources.format import Format
from dagster_project.sources.incidents import (
    alertmanager,
    cloudwatch_alarms,
    incident_csv,
    incidents,
    jira,
    pagerduty,
    servicenow,
)
from dagster_project.sources.logs import cloudwatch_logs, container_logs, json_lines, logfmt, syslog
from dagster_project.sources.metrics import cloudwatch_metrics, metrics_wide_csv, openmetrics, prometheus
from dagster_project.sources.otlp import otlp_logs, otlp_metrics, otlp_protobuf, otlp_traces
from dagster_project.sources.traces import jaeger, parquet_spans, zipkin

# In the order in which a file is asked; no two recognise the same one.
FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        otlp_traces,
        jaeger,
        zipkin,
        parquet_spans,
        otlp_logs,
        otlp_metrics,
        prometheus,
        openmetrics,
        metrics_wide_csv,
        cloudwatch_metrics,
        incidents,
        incident_csv,
        pagerduty,
        servicenow,
        jira,
        alertmanager,
        cloudwatch_alarms,
        deploys,
        image_tag_bumps,
        github_deployments,
        argocd,
        git_history,
        feature_flags,
        launchdarkly,
        configuration_changes,
        container_logs,
        cloudwatch_logs,
        syslog,
        logfmt,
        json_lines,  # of all that is JSON, it asks the least
    )
} | {known.name: known for known in otlp_protobuf.FORMATS}
