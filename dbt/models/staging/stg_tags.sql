with tags as (
    select * from {{ source('raw', 'changes') }}
    where system = 'git_tag'
),

-- A tag that was moved is where it was seen last.
newest as (
    select *
    from tags
    qualify row_number() over (partition by change_id order by load_id desc, line desc, record desc) = 1
),

final as (
    select
        change_id as tag_id,
        {{ json_text('payload', 'repository') }} as repository,
        {{ json_text('payload', 'name') }} as tag_name,
        {{ json_text('payload', 'sha') }} as sha,
        {{ json_text('payload', 'target_type') }} as target_type,
        {{ said_boolean(json_text('payload', 'is_annotated')) }} as is_annotated,
        {{ utc_timestamp(json_text('payload', 'tagged_at')) }} as tagged_at,
        load_id,
        line,
        record
    from newest
)

select *
from final
order by tagged_at, tag_id
