"""The static site: pages and charts from marts, offline, in one folder. It reads, writes files and infers nothing."""

from dagster_project.site.build import build, write_morning

__all__ = ["build", "write_morning"]
