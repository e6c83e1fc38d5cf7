"""Markdown, HTML and JSON as people get them: golden files, hostile text, what is on disk."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dagster_project import post_mortem
from dagster_project.facts import Stamp
from dagster_project.post_mortem.model import Run
from dagster_project.post_mortem.render import escape_line_start, escape_markdown, markdown_line, markdown_run
from dagster_project.wording import visible

GOLDEN = Path(__file__).with_name("golden")
HOSTILE = "../../<INC>-4"


def written(connection, folder, incident_id):
    (document,) = post_mortem.write(connection, folder, [incident_id], stamp=Stamp("3f2a9c01bd77", None))
    return document


@pytest.mark.parametrize("incident_id", ["INC-1", "INC-2", "INC-3"])
@pytest.mark.parametrize("suffix", ["md", "body"])
def test_documents_are_as_they_were_looked_at(connection, tmp_path, incident_id, suffix):
    """HINDCAST_REWRITE_GOLDEN=1 writes the files anew; read the difference before committing it."""
    document = written(connection, tmp_path, incident_id)
    made = document.markdown_path.read_text(encoding="utf-8") if suffix == "md" else document.body
    golden = GOLDEN / f"{incident_id}.{suffix}"
    if os.environ.get("HINDCAST_REWRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(made, encoding="utf-8")
    assert made == golden.read_text(encoding="utf-8")


def test_hostile_text_is_only_text_in_markdown(connection, tmp_path):
    text = written(connection, tmp_path, HOSTILE).markdown_path.read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    assert not {token.type for token in [*tokens, *inline]} & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "fence",
    }
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert not [heading for heading in headings if heading == "heading"]
    title = "".join(child.content for child in tokens[1].children or [])
    assert title == (
        '</title><script>alert("x")</script> [a](javascript:alert(1)) ⟨U+202E⟩evil⟨U+202C⟩ **bold** =1+1 # heading'
    )


def test_hostile_text_is_only_text_in_html(connection, tmp_path):
    document = written(connection, tmp_path, HOSTILE)
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(document.html_path.read_text(encoding="utf-8"))
    assert "script" not in tags
    assert not {"img", "iframe", "b", "form"} & set(tags)
    assert tags.count("title") == 1
    assert "\u202e" not in document.body


def test_a_title_of_a_megabyte_is_cut_in_every_form(connection, tmp_path):
    connection.execute("update marts.fct_incidents set title = repeat('<b>', 350000) where incident_id = 'INC-1'")
    document = written(connection, tmp_path, "INC-1")
    for path in (document.markdown_path, document.html_path, document.json_path):
        assert path.stat().st_size < 200_000
        assert "1,050,000 characters" in path.read_text(encoding="utf-8")


@given(st.text(min_size=1).map(visible).filter(str.strip))
def test_escaped_text_is_a_paragraph_of_that_text(text):
    tokens = MarkdownIt("commonmark").enable("table").parse(escape_line_start(escape_markdown(text)))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(child.content for child in tokens[1].children or []) == text.strip()


@given(st.text(alphabet="`<>*_[]()!|\\#&;:/.@wht ps=1", min_size=1).map(visible).filter(str.strip))
def test_signs_of_markdown_are_a_paragraph_of_those_signs(text):
    tokens = MarkdownIt("commonmark").enable("table").parse(escape_line_start(escape_markdown(text)))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children or []} <= {"text", "text_special"}
    assert "".join(child.content for child in tokens[1].children or []) == text.strip()


@given(st.text(min_size=1).map(visible).filter(lambda text: text.strip() and "|" not in text))
def test_code_keeps_its_text(text):
    tokens = MarkdownIt("commonmark").parse("a " + markdown_run(Run(text, "code")))
    (code,) = [child for child in tokens[1].children or [] if child.type == "code_inline"]
    assert code.content.strip() == text.strip()


@given(st.lists(st.text(min_size=1).map(visible).filter(str.strip), min_size=1, max_size=4))
def test_a_table_keeps_its_cells(cells):
    head = "|" + " a |" * len(cells) + "\n|" + "---|" * len(cells) + "\n"
    body = "|" + "".join(f" {markdown_run(Run(cell))} |" for cell in cells)
    tokens = MarkdownIt("commonmark").enable("table").parse(head + body)
    assert sum(token.type == "td_open" for token in tokens) == len(cells)


@pytest.mark.parametrize("text", ["# a", "- a", "1. a", "1) a", "> a", "=== a", "+ a", "    a", "--- "])
def test_a_line_starts_no_block(text):
    tokens = MarkdownIt("commonmark").parse(markdown_line([Run(text.strip())]))
    assert tokens[0].type == "paragraph_open"


def test_bare_addresses_are_broken_up():
    assert "http\\://" in escape_markdown("see http://evil.example")
    assert "www\\." in escape_markdown("see www.evil.example")


def test_the_json_is_the_document(connection, tmp_path):
    document = json.loads(written(connection, tmp_path, "INC-1").json_path.read_text(encoding="utf-8"))
    assert document["state"] == "Draft"
    assert [section["key"] for section in document["sections"]] == [
        *("summary", "impact", "detection", "timeline", "metrics", "services", "hypotheses", "replay"),
        *("unknowns", "actions"),
    ]
    assert {block["type"] for section in document["sections"] for block in section["blocks"]} == {
        *("statement", "bullets", "table", "hypothesis"),
    }
    assert document["references"][0]["reference"]["relation"] == "marts.fct_incidents"


def test_no_blame_is_written(connection, tmp_path):
    blaming = re.compile(r"(?i)\b(failed to|should have|human error|careless|fault of|blame|mistake)\b")
    for document in post_mortem.write(connection, tmp_path):
        assert not blaming.search(document.markdown_path.read_text(encoding="utf-8"))


def test_writing_twice_changes_no_byte(connection, tmp_path):
    post_mortem.write(connection, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    post_mortem.write(connection, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_was_written_can_be_read_back(connection, tmp_path):
    assert post_mortem.write(connection, tmp_path) == post_mortem.read_written(tmp_path)
    assert post_mortem.read_written(tmp_path / "nowhere") == []


def test_the_document_of_an_incident_that_is_gone_goes_too(connection, tmp_path):
    post_mortem.write(connection, tmp_path)
    connection.execute("delete from marts.fct_incidents where incident_id = 'INC-2'")
    post_mortem.write(connection, tmp_path)
    assert not list(tmp_path.glob("INC-2*"))
    assert (tmp_path / "INC-1.md").is_file()


def test_one_document_leaves_the_others(connection, tmp_path):
    post_mortem.write(connection, tmp_path)
    written(connection, tmp_path, "INC-1")
    assert (tmp_path / "INC-2.md").is_file()
    assert len(post_mortem.read_written(tmp_path)) == 4


def test_file_names_stay_in_the_folder(connection, tmp_path):
    document = written(connection, tmp_path / "papers", HOSTILE)
    assert document.markdown_path.parent == tmp_path / "papers"
    assert document.slug == "INC-4-1e52b2aef0"
