"""Errors that a user can mend: shown as one message, exit code 2. Any other error is a defect and shows its trace."""

from __future__ import annotations

from dagster_project.policy.document import DocumentError
from dagster_project.replay.formats import FormatNotSupported
from dagster_project.replay.query import NothingToReplay, ReplayFailed
from dagster_project.replay.window import WindowError
from dagster_project.rule_language import RuleErrors
from dagster_project.settings import ProjectNotFound
from dagster_project.sources.declaration import SourcesInvalid
from dagster_project.transformation.prepare import DbtParseFailed, NotPrepared
from dagster_project.warehouse.connection import WarehouseTooNew
from dagster_project.warehouse.generations import GenerationNotFound
from dagster_project.warehouse.lock import WarehouseLocked

EXPECTED = (
    DbtParseFailed,
    SourcesInvalid,
    DocumentError,
    FileNotFoundError,
    FormatNotSupported,
    GenerationNotFound,
    NotPrepared,
    NothingToReplay,
    PermissionError,
    ProjectNotFound,
    ReplayFailed,
    RuleErrors,
    WarehouseLocked,
    WarehouseTooNew,
    WindowError,
)


def explain(error: BaseException) -> str:
    """The message of an expected error."""
    return f"{error}"
