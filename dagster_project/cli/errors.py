"""Errors that a user can mend: shown as one message, exit code 2. Any other error is a defect and shows its trace."""

from __future__ import annotations

import duckdb

from dagster_project.policy.document import DocumentError
from dagster_project.replay.formats import FormatNotSupported
from dagster_project.replay.query import NothingToReplay, ReplayFailed
from dagster_project.replay.window import WindowError
from dagster_project.rule_language import RuleErrors
from dagster_project.settings import ProjectNotFound
from dagster_project.sources.declaration import SourcesInvalid
from dagster_project.transformation.prepare import DbtParseFailed, NotPrepared
from dagster_project.transformation.time_limit import InvalidLimit
from dagster_project.warehouse.compaction import CompactionFailed
from dagster_project.warehouse.connection import WarehouseTooNew, WarehouseTooOld
from dagster_project.warehouse.generations import MartsNotWhole
from dagster_project.warehouse.lock import WarehouseLocked

EXPECTED = (
    CompactionFailed,
    duckdb.IOException,  # the warehouse is open in another program, or its disk is full
    DbtParseFailed,
    SourcesInvalid,
    DocumentError,
    FormatNotSupported,
    InvalidLimit,
    MartsNotWhole,
    NotPrepared,
    NothingToReplay,
    OSError,  # a path that is missing, a folder where a file should be, no permission, a full disk
    ProjectNotFound,
    ReplayFailed,
    RuleErrors,
    WarehouseLocked,
    WarehouseTooNew,
    WarehouseTooOld,
    WindowError,
)
