with loads as (
    select * from {{ source('audit', 'loads') }}
),

quarantine as (
    select * from {{ source('audit', 'quarantine') }}
),

repeats as (
    select
        load_id,
        is_identical
    from {{ ref('stg_span_repeats') }}
    union all
    select
        load_id,
        true as is_identical
    from {{ ref('stg_log_repeats') }}
),

refused as (
    select
        load_id,
        list(struct_pack(reason := reason, records := records) order by reason) as rejected_by_reason
    from (
        select
            load_id,
            reason,
            count(*) as records
        from quarantine
        group by load_id, reason
    ) as by_reason
    group by load_id
),

repeated as (
    select
        load_id,
        count(*) as records_repeated,
        count(*) filter (where not is_identical) as records_repeated_with_other_content
    from repeats
    group by load_id
),

final as (
    select
        loads.load_id,
        loads.source,
        loads.format,
        loads.path,
        loads.sha256,
        loads.status,
        loads.duplicate_of,
        loads.replaces,
        loads.superseded_by,
        loads.file_bytes,
        loads.decoded_bytes,
        loads.records_read,
        loads.records_landed,
        loads.records_rejected,
        coalesce(loads.rows_expired, 0) as records_expired,
        coalesce(refused.rejected_by_reason, []) as rejected_by_reason,
        coalesce(repeated.records_repeated, 0) as records_repeated,
        coalesce(repeated.records_repeated_with_other_content, 0) as records_repeated_with_other_content,
        loads.unknown_fields,
        loads.event_days,
        loads.message
    from loads
    left join refused on loads.load_id = refused.load_id
    left join repeated on loads.load_id = repeated.load_id
)

select *
from final
order by load_id
