"""Reading a YAML document: whatever it holds, a mistake names file and line."""

import pytest

from dagster_project.policy.document import DocumentError
from dagster_project.policy.policy import load_policy


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("a: 1\n{[a]: 1}: 2\n", 2, "a key is a word"),
        ("a: 1\n? [b]\n: 2\n", 2, "a key is a word"),
        ("a: 1\nb: 2023-13-45\n", 2, "'2023-13-45' is no timestamp"),
        ("a: 1\nb: !!int many\n", 2, "'many' is no int"),
        ("a: 1\nb: !!bool perhaps\n", 2, "'perhaps' is no bool"),
        ("a: 1\nb: !!timestamp soon\n", 2, "'soon' is no timestamp"),
        ("a: 1\nb: " + "1" * 5_000 + "\n", 2, "is no int"),
        ("a: 1\nb: " + "[" * 20_000, 2, "nested more than 50 deep"),
        ("a:\n  - " + "{a: " * 20_000, 2, "nested more than 50 deep"),
        ("a: 1\nb: \x07\n", 2, "not YAML"),
        ("a: 1\n--- \nb: 2\n", 2, "but found another document"),
        ("a: &a [*a]\n", 1, "a: Extra inputs are not permitted"),
        ("a: &a {<<: *a}\n", 1, "a: Extra inputs are not permitted"),
        ("a: 1\n2: 3\n", 2, "the key '2' is no word to YAML: quote it"),
        ("a: 1\n2023-01-01: 3\n", 2, "'2023-01-01'"),
        ("a: 1\nnull: 3\n", 2, "'null'"),
    ],
)
def test_whatever_yaml_holds_is_refused_with_file_and_line(tmp_path, text, line, expected):
    file = tmp_path / "policy.yml"
    file.write_text(text)
    with pytest.raises(DocumentError) as caught:
        load_policy(file)
    problems = [problem for problem in caught.value.problems if problem.startswith(f"{file}:{line}: ")]
    assert any(expected in problem for problem in problems), caught.value.problems


def test_a_folder_in_place_of_the_file(tmp_path):
    with pytest.raises(DocumentError, match="cannot be read"):
        load_policy(tmp_path)
