"""Ctrl-C is an answer, not a defect, whenever it comes."""

import sys

import pytest

from dagster_project import cli


class _Interrupted:
    """Stands for a module in whose import Ctrl-C is pressed."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "dagster_project.cli.commands":
            raise KeyboardInterrupt


def test_ctrl_c_while_modules_are_imported_is_one_line(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "dagster_project.cli.commands", raising=False)
    monkeypatch.delattr(cli, "commands", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")
