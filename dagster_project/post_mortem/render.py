"""From the document model to Markdown and HTML. Text stays text in both: every value is escaped, none is trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dagster_project.post_mortem.model import Document, Run
from dagster_project.settings import shipped
from dagster_project.wording import utc, visible

# Everything that CommonMark, GitHub's tables and its bare links give a meaning inside a line.
_MARKDOWN_SIGNS = re.compile(r"([\\`*_\[\]<>|~$^&])")
# What means something at the beginning of a line only: headings, lists, quotes, rules, setext underlines.
_LINE_START = re.compile(r"^(\s*)(?:([#+\-=])|(\d+)([.)])(?=\s|$))")
_BARE_LINK = re.compile(r"(?i)(https?|ftp|mailto|xmpp)(:)|(www)(\.)")


def html(document: Document) -> str:
    """The document's body as HTML: an `article` without head, for a page to frame."""
    return _environment().get_template("post_mortem/document.html.j2").render(document=document)


def html_page(document: Document, body: str) -> str:
    """`body` as a page of its own that needs no other file."""
    style = (shipped("reports") / "theme/hindcast.css").read_text(encoding="utf-8")
    page = _environment().get_template("post_mortem/page.html.j2")
    return page.render(document=document, body=body, style=style)


def markdown(document: Document) -> str:
    """The document as Markdown that reads the same in CommonMark and on GitHub."""
    text = _environment(escaping=False).get_template("post_mortem/document.md.j2").render(document=document)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escape_markdown(text: str) -> str:
    """Text in which no sign starts emphasis, a link, an image, HTML or a table cell."""
    escaped = _MARKDOWN_SIGNS.sub(r"\\\1", text)
    return _BARE_LINK.sub(
        lambda found: "".join(filter(None, (found[1] or found[3], "\\", found[2] or found[4]))), escaped
    )


def escape_line_start(text: str) -> str:
    """Escaped text that begins a line, in which it starts no heading, list or rule either."""
    return _LINE_START.sub(lambda found: f"{found[1]}{found[3] or ''}\\{found[2] or found[4]}", text)


def markdown_run(run: Run) -> str:
    """A run in Markdown; code is fenced by more backticks than it holds."""
    if run.style == "code":
        return _code_span(run.text)
    escaped = escape_markdown(run.text)
    return f"**{escaped}**" if run.style == "strong" and escaped and escaped.strip() == escaped else escaped


def markdown_line(runs: Sequence[Run]) -> str:
    """Runs that make a paragraph or a list entry."""
    return escape_line_start("".join(markdown_run(run) for run in runs))


def _code_span(text: str) -> str:
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    # In a table GitHub splits cells before it looks at code, so a bar is escaped even here.
    return fence + pad + text.replace("|", "\\|") + pad + fence


@cache
def _environment(*, escaping: bool = True) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(shipped("reports") / "templates"),
        undefined=StrictUndefined,
        autoescape=escaping,  # noqa: S701 - Markdown has its own escaping: every value passes escape_markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        utc=utc, visible=visible, md=escape_markdown, run=markdown_run, line=markdown_line, code=_code_span
    )
    environment.filters["position"] = lambda blocks, block: blocks.index(block) + 1
    environment.tests["section_block"] = lambda block, name: type(block).__name__ == name
    return environment
