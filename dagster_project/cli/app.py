"""Every command in one tree, for who calls them from Python. The command line imports only what it is asked for."""

from __future__ import annotations

from dagster_project.cli.commands import whole_tree

app = whole_tree()
