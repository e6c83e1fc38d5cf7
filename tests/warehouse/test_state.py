from dagster_project.warehouse import state


def test_nights_are_told_newest_first_and_a_killed_one_has_no_end(tmp_path):
    file = tmp_path / "state" / "hindcast.sqlite"
    assert state.nights(file) == []
    state.begin_night(file, "one", "2024-01-01T02:00:00")
    state.end_night(file, "one", "2024-01-01T02:05:00", 1, "abc", {"new": 3})
    state.begin_night(file, "two", "2024-01-02T02:00:00")
    newest, oldest = state.nights(file)
    assert (newest["night_id"], newest["finished_at"]) == ("two", None)
    assert (oldest["exit_code"], oldest["generation"]) == (1, "abc")


def test_opening_again_migrates_nothing(tmp_path):
    file = tmp_path / "hindcast.sqlite"
    state.begin_night(file, "one", "2024-01-01T02:00:00")
    with state.open_state(file) as connection:
        assert connection.execute("pragma user_version").fetchone() == (len(state.MIGRATIONS),)
        assert connection.execute("select count(*) from night").fetchone() == (1,)
