"""Pictures of the site and of Dagster's asset graph, taken with a headless Chromium: docs/images/*.png.

    python reports/screenshots.py                                   the site in reports/site
    python reports/screenshots.py --dagster http://127.0.0.1:3000   the asset graph of a running `dagster dev` as well

It needs a Chromium or Chrome on this machine and nothing else; CHROME names one that is not on the path.
"""

from __future__ import annotations

import argparse
import html
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Nothing phones home, and root (in a container) has no sandbox to start in.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb"),
)
SECONDS = 120
# Of Dagster's groups those whose assets are few enough to be read in one picture; the others stay closed.
OPENED_GROUPS = ("landing", "violations", "papers", "publication")


class BrowserMissing(RuntimeError):
    """No Chromium or Chrome was found on this machine."""


@dataclass(frozen=True)
class Shot:
    """A page, the name of its picture, and the window to look through. A phone's window is drawn in a frame."""

    page: str
    name: str
    width: int = 1440
    height: int = 1500
    theme: str = "light"
    is_phone: bool = False


SHOTS = (
    Shot("index.html", "site", height=1240),
    Shot("index.html", "site-dark", height=1240, theme="dark"),
    Shot("index.html", "site-phone", width=390, height=1160, is_phone=True),
    Shot("morning.html", "morning", height=1040),
    Shot("mttr.html", "time-to-resolve", height=1040),
    Shot("significance.html", "significance", height=1040),
    Shot("roi.html", "return", height=1500),
    Shot("claims.html", "claims", height=1240),
)


def main() -> int:
    """Take the pictures; the exit code is 0, or 2 when there is no browser or no site."""
    options = _options()
    try:
        browser = find_browser()
    except BrowserMissing as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    if not (options.site / "index.html").is_file():
        sys.stderr.write(f"{options.site}/index.html is not there: run `hindcast demo` or `hindcast report` first\n")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for shot in (*SHOTS, *_of_documents(options.site)):
        if (options.site / shot.page).is_file():
            _take_page(browser, options.site / shot.page, shot, options.out / f"{shot.name}.png")
    if options.dagster:
        opened = ",".join(f"global@global:{group}" for group in OPENED_GROUPS)
        address = f"{options.dagster.rstrip('/')}/asset-groups?expanded={opened}"
        _take(browser, address, options.out / "asset-graph.png", 2000, 860, milliseconds=options.wait * 1000)
    return 0


def find_browser() -> str:
    """The path of a Chromium: what CHROME names, or the first on the path.

    Raises
    ------
    BrowserMissing
        Says what was looked for and how to get one.
    """
    named = os.environ.get("CHROME")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return found
    looked_for = named or ", ".join(BROWSERS)
    raise BrowserMissing(
        f"no browser to take pictures with (looked for {looked_for}). Install one (Debian: apt-get install chromium) "
        "or name one: CHROME=/path/to/chrome. Pictures are the only thing that needs it."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pictures of the site and of Dagster's asset graph.")
    parser.add_argument("--site", type=Path, default=ROOT / "reports/site", help="the built site")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images", help="where the pictures go")
    parser.add_argument("--dagster", metavar="URL", help="address of a running `dagster dev`")
    parser.add_argument("--wait", type=int, default=30, help="seconds of its clock to give Dagster's page")
    return parser.parse_args()


def _of_documents(site: Path) -> list[Shot]:
    """The first post-mortem and the first rule, whatever they are called."""
    shots = []
    for folder, name, height in (("incidents", "post-mortem", 1800), ("rules", "rule", 1240)):
        pages = sorted(page.name for page in (site / folder).glob("*.html") if page.name != "index.html")
        shots += [Shot(f"{folder}/{page}", name, height=height) for page in pages[:1]]
    return shots


def _take_page(browser: str, page: Path, shot: Shot, target: Path) -> None:
    address = f"{page.resolve().as_uri()}?theme={shot.theme}"
    if not shot.is_phone:
        _take(browser, address, target, shot.width, shot.height)
        return
    # A browser's own window is never as narrow as a telephone; a frame may be.
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.html"
        style = f"display:block;border:0;width:{shot.width}px;height:{shot.height}px"
        frame.write_text(
            f'<!doctype html><body style="margin:0"><iframe src="{html.escape(address)}" style="{style}"></iframe>',
            encoding="utf-8",
        )
        _take(browser, frame.as_uri(), target, shot.width, shot.height)


def _take(browser: str, address: str, target: Path, width: int, height: int, *, milliseconds: int = 8000) -> None:
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        # The page's own clock runs ahead to this point, so that what draws late is drawn.
        command += [f"--virtual-time-budget={milliseconds}", f"--screenshot={target}", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
    if not target.is_file():
        raise RuntimeError(f"{browser} made no picture of {address}: {done.stderr.strip()[-500:]}")
    sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    sys.exit(main())
