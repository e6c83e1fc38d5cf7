from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "reports/screenshots.py"


@pytest.fixture
def screenshots(monkeypatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshots", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "screenshots", module)
    spec.loader.exec_module(module)
    return module


def test_it_says_clearly_when_there_is_no_browser(screenshots, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROME", raising=False)
    monkeypatch.setattr(sys, "argv", ["screenshots.py"])
    assert screenshots.main() == 2
    assert "apt-get install chromium" in capsys.readouterr().err


def test_it_says_clearly_when_there_is_no_site(screenshots, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CHROME", sys.executable)
    monkeypatch.setattr(sys, "argv", ["screenshots.py", "--site", str(tmp_path), "--out", str(tmp_path)])
    assert screenshots.main() == 2
    assert "hindcast demo" in capsys.readouterr().err
