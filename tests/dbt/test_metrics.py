"""Staged metric points and histograms: each once, in the right day, whatever window they are staged by."""

DAYS = {"replay_from": "2024-01-01", "replay_until": "2024-01-03"}

POINT = (
    "insert into raw.metric_points by name select ? as load_id, 1 as line, ? as record, 'cpu' as metric_name,"
    " ? as service_name, '{{}}' as labels, timestamp_ns '{at}' as observed_at, 1.5 as value, ? as resource_attributes"
)
HISTOGRAM = (
    "insert into raw.metric_histograms by name select ? as load_id, 1 as line, ? as record, 'latency' as metric_name,"
    " '{{}}' as labels, timestamp_ns '{at}' as observed_at, 3 as point_count, [1.0, 2.0] as explicit_bounds,"
    " [1, 1, 1] as bucket_counts"
)
STAGED = ("stg_metric_points", "stg_metric_histograms")


def insert(warehouse, load_id, record, at, service="shop", resource=None):
    warehouse.write(POINT.format(at=at), [load_id, record, service, resource])
    warehouse.write(HISTOGRAM.format(at=at), [load_id, record])


def test_days_staged_one_by_one_are_the_same_as_all_at_once(shared_project, make_warehouse, differences):
    by_day, whole = make_warehouse("by_day"), make_warehouse("whole")
    for each in (by_day, whole):
        insert(each, 1, 1, "2024-01-01 10:00:00")
        insert(each, 1, 2, "2024-01-01 23:59:59.999999999")
        insert(each, 1, 3, "2024-01-02 00:00:00")
    shared_project.run(by_day, "run", "-s", *STAGED, **DAYS)
    for each in (by_day, whole):
        insert(each, 2, 1, "2024-01-01 10:00:00")  # comes again, late
        insert(each, 2, 2, "2024-01-02 12:00:00")
    shared_project.run(by_day, "run", "-s", *STAGED, replay_from="2024-01-01", replay_until="2024-01-02")
    shared_project.run(by_day, "run", "-s", *STAGED, replay_from="2024-01-02", replay_until="2024-01-03")
    shared_project.run(whole, "run", "-s", *STAGED)
    assert differences(by_day, whole) == set()
    expected = [
        (1, 1, "2024-01-01 10:00:00", "2024-01-01"),
        (1, 2, "2024-01-01 23:59:59.999999", "2024-01-01"),
        (1, 3, "2024-01-02 00:00:00", "2024-01-02"),
        (2, 2, "2024-01-02 12:00:00", "2024-01-02"),
    ]
    for model in STAGED:
        found = whole.rows(
            f"select load_id, record, observed_at::varchar, observed_on::varchar from staging.{model} order by all"
        )
        assert found == expected


def test_series_of_two_services_or_resources_are_two(shared_project, warehouse):
    for record, (service, resource) in enumerate(
        [("shop", None), ("cart", None), (None, None), ("shop", '{"host":"a"}'), ("shop", '{"host":"b"}')], 1
    ):
        insert(warehouse, 1, record, "2024-01-01 10:00:00", service, resource)
        insert(warehouse, 2, record, "2024-01-01 10:00:00", service, resource)
    shared_project.run(warehouse, "run", "-s", *STAGED)
    found = warehouse.rows(
        "select load_id, count(*), count(distinct series_id) from staging.stg_metric_points group by 1"
    )
    assert found == [(1, 5, 5)]


def test_the_models_pass_their_tests(shared_project, warehouse):
    insert(warehouse, 1, 1, "2024-01-01 10:00:00")
    shared_project.run(warehouse, "build", "-s", *STAGED)
