"""Events and links of spans as tables: days staged again equal a full rebuild."""

EVENT = '[{"timeUnixNano":"1704110400000000001","name":"exception","attributes":{"exception.type":"Declined"}}]'
LINK = '[{"traceId":"000000000000000000000000000000ab","spanId":"00000000000000ff","attributes":{}}]'
MODELS = ("-s", "stg_spans", "stg_span_repeats", "stg_span_events", "stg_span_links")
DAYS = {"replay_from": "2024-01-02", "replay_until": "2024-01-03"}


def give(warehouse, span, events=None, links=None):
    warehouse.write("update raw.spans set events = ?, links = ? where span_id = ?", [events, links, span])


def test_children_of_days_staged_again_are_there_once(shared_project, warehouse):
    warehouse.insert_spans([{"span": 1, "at": "2024-01-01 10:00:00"}, {"span": 2, "at": "2024-01-02 10:00:00"}])
    give(warehouse, 1, events=EVENT)
    give(warehouse, 2, events=EVENT, links=LINK)
    shared_project.run(warehouse, "run", *MODELS)
    give(warehouse, 2, events=EVENT[:-1] + "," + EVENT[1:], links=LINK)
    shared_project.run(warehouse, "run", *MODELS, **DAYS)
    assert warehouse.rows(
        "select span_id, position, exception_type, epoch_ns(occurred_at) from staging.stg_span_events order by all"
    ) == [
        (1, 1, "Declined", 1704110400000000001),
        (2, 1, "Declined", 1704110400000000001),
        (2, 2, "Declined", 1704110400000000001),
    ]
    assert warehouse.rows("select span_id, linked_trace_id::varchar, linked_span_id from staging.stg_span_links") == [
        (2, "00000000-0000-0000-0000-0000000000ab", 255)
    ]


def test_children_pass_the_tests_of_their_models(shared_project, warehouse):
    warehouse.insert_spans([{"span": 1}])
    give(warehouse, 1, events=EVENT, links=LINK)
    shared_project.run(warehouse, "run", *MODELS)
    shared_project.run(warehouse, "test", "-s", "stg_span_events", "stg_span_links")
