"""The formats that Hindcast reads. A new one is a module of this package and a line here."""

from __future__ import annotations

from dagster_project.sources import (
    alertmanager,
    argocd,
    cloudwatch_alarms,
    configuration_changes,
    deploys,
    feature_flags,
    git_history,
    github_deployments,
    image_tag_bumps,
    incident_csv,
    incidents,
    jira,
    launchdarkly,
    metrics_wide_csv,
    otlp_logs,
    otlp_metrics,
    otlp_protobuf,
    otlp_traces,
    pagerduty,
    prometheus,
    servicenow,
)
from dagster_project.sources.format import Format

# In the order in which a file is asked; no two recognise the same one.
FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        otlp_traces,
        otlp_logs,
        otlp_metrics,
        prometheus,
        metrics_wide_csv,
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
    )
} | {known.name: known for known in otlp_protobuf.FORMATS}
