"""What is written as a text is read as one, by our reader and by others."""

import pytest
import yaml

from dagster_project.rule_language.text.yaml_text import YamlText
from dagster_project.rule_language.writing.rule_writer import rule_yaml


@pytest.mark.parametrize(
    "text", ["1e5", "1", "yes", "null", "~", "a: b", "- a", "# a", "it's", "a\nb\n", " a\n b", "é"]
)
def test_a_text_stays_a_text(text):
    written = rule_yaml({"a": text, "b": [{text: text}], "c": 1, "d": True})
    assert yaml.safe_load(written) == {"a": text, "b": [{text: text}], "c": 1, "d": True}
    assert YamlText("x.yml", written).root().value["a"][1].value == text
