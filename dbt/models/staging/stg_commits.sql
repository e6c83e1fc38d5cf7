with commits as (
    select * from {{ source('raw', 'changes') }}
    where system = 'git_commit'
),

-- A commit that was exported again, after a rewritten history for one, replaces the one before it.
newest as (
    select *
    from commits
    qualify row_number() over (partition by change_id order by load_id desc, line desc, record desc) = 1
),

renamed as (
    select
        change_id as commit_id,
        {{ json_text('payload', 'repository') }} as repository,
        {{ json_text('payload', 'sha') }} as sha,
        {{ json_text_list('payload', 'parents') }} as parent_shas,
        {{ json_text('payload', 'author_id') }} as author_id,
        {{ utc_timestamp(json_text('payload', 'authored_at')) }} as authored_at,
        {{ utc_timestamp(json_text('payload', 'committed_at')) }} as committed_at,
        {{ json_text('payload', 'subject') }} as subject,
        {{ json_text('payload', 'body') }} as body,
        {{ json_text_list('payload', 'reverts') }} as reverts,
        {{ said_boolean(json_text('payload', 'is_boundary')) }} as is_boundary,
        try_cast({{ json_text('payload', 'file_count') }} as bigint) as file_count,
        try_cast({{ json_text('payload', 'additions') }} as bigint) as additions,
        try_cast({{ json_text('payload', 'deletions') }} as bigint) as deletions,
        load_id,
        line,
        record
    from newest
),

final as (
    select
        commit_id,
        repository,
        sha,
        parent_shas,
        author_id,
        authored_at,
        committed_at,
        subject,
        body,
        coalesce(len(parent_shas) > 1, false) as is_merge,
        coalesce(len(reverts) > 0, false) as is_revert,
        reverts,
        coalesce(is_boundary, false) as is_boundary,
        file_count,
        additions,
        deletions,
        load_id,
        line,
        record
    from renamed
)

select *
from final
order by committed_at, repository, sha
