from dagster_project.warehouse import plan_registry
from dagster_project.warehouse.plan_registry import Look


def look(data, plan="sha-1", verdict="IMPROVED"):
    return Look("halves", plan, data, verdict, "clear_difference", "gen")


def test_a_plan_keeps_the_time_at_which_it_was_first_stored(tmp_path):
    file = tmp_path / "state.sqlite"
    assert plan_registry.plans(file) == []
    plan_registry.register(file, [("halves", "sha-1", "{}")])
    (first,) = plan_registry.plans(file)
    plan_registry.register(file, [("halves", "sha-1", "{}"), ("other", "sha-9", "{}")])
    assert plan_registry.plans(file, "halves") == [first]
    assert (first.first_result_at, first.looks) == (None, 0)
    assert len(plan_registry.plans(file)) == 2


def test_the_same_data_again_is_no_new_look_and_other_data_is(tmp_path):
    file = tmp_path / "state.sqlite"
    assert plan_registry.look_number(file, "halves", "data-1") == 1
    plan_registry.register(file, [("halves", "sha-1", "{}")])
    for data in ("data-1", "data-2", "data-1"):
        plan_registry.record(file, [look(data)])
    assert [plan_registry.look_number(file, "halves", data) for data in ("data-1", "data-2", "data-3")] == [1, 2, 3]
    assert plan_registry.look_number(file, "another", "data-3") == 1
    assert [each.data_sha256 for each in plan_registry.looks(file, "halves")] == ["data-1", "data-2"]
    (version,) = plan_registry.plans(file, "halves")
    assert version.looks == 2
    assert version.registered_at <= version.first_result_at


def test_a_changed_plan_is_another_version_and_its_looks_count_for_the_comparison(tmp_path):
    file = tmp_path / "state.sqlite"
    plan_registry.register(file, [("halves", "sha-1", "{}")])
    plan_registry.record(file, [look("data-1")])
    plan_registry.register(file, [("halves", "sha-2", "{}")])
    first, second = plan_registry.plans(file, "halves")
    assert first.first_result_at < second.registered_at
    assert second.first_result_at is None
    assert plan_registry.look_number(file, "halves", "data-2") == 2
