"""Reading a YAML document: whatever it holds, a mistake names file and line."""

import time

import pytest

from dagster_project.policy.document import DocumentError, StrictModel, parse_document
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


def levels(count, each):
    """Anchored mappings, each of which merges those of the level before it."""
    lines = ["a0: &a0 {x: 1}", "b0: &b0 {y: 1}"]
    for n in range(1, count):
        lines += [each.format(name=f"{name}{n}", before=n - 1) for name in "ab"]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (levels(40, "{name}: &{name} {{<<: [*a{before}, *a{before}, *a{before}]}}"), 3, "merged twice"),
        (levels(40, "{name}: &{name} {{<<: [*a{before}, *b{before}]}}"), 27, "copies more than 20,000 keys"),
        ("a: &a {x: 1}\nb: {<<: [" + "*a, " * 20_000 + "]}", 2, "merged twice"),
        # Anchors deep inside are looked at after what merges them.
        ("x:\n  a0: &a0 {x: 1}\n" + "".join(f"  a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, 3_000))
         + "y: {<<: *a2999}", 2952, "merged over more than 50"),
    ],
)  # fmt: skip
def test_merging_does_not_grow_beyond_measure(tmp_path, text, line, expected):
    started = time.perf_counter()
    with pytest.raises(DocumentError) as caught:
        parse_document(text, Settings, tmp_path / "settings.yml")
    assert time.perf_counter() - started < 20
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'settings.yml'}:{line}: ")
    assert expected in problem


class Settings(StrictModel):
    values: dict[str, dict[str, dict[str, int]]]


def test_what_is_merged_is_there_and_own_keys_win(tmp_path):
    text = """\
values:
  deep:
    one: &one {a: 1, b: 1}
    two: &two {<<: *one, b: 2}
    three: {<<: [*two, *one], c: 3}
  shallow: {<<: {four: {<<: *two, a: 4}}}
"""
    found = parse_document(text, Settings, tmp_path / "settings.yml").values
    assert found["deep"]["two"] == {"a": 1, "b": 2}
    assert found["deep"]["three"] == {"a": 1, "b": 2, "c": 3}
    assert found["shallow"]["four"] == {"a": 4, "b": 2}


def test_a_folder_in_place_of_the_file(tmp_path):
    with pytest.raises(DocumentError, match="cannot be read"):
        load_policy(tmp_path)
