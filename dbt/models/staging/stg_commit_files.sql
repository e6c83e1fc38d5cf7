with commits as (
    select * from {{ ref('stg_commits') }}
),

changes as (
    select * from {{ source('raw', 'changes') }}
),

listed as (
    select
        commits.commit_id,
        commits.repository,
        commits.sha,
        commits.committed_at,
        unnest({{ json_elements('changes.payload', 'files') }}) as file
    from commits
    inner join changes
        on
            commits.load_id = changes.load_id
            and commits.line = changes.line
            and commits.record = changes.record
    where changes.system = 'git_commit'
),

final as (
    select
        commit_id,
        repository,
        sha,
        committed_at,
        {{ json_text('file', 'path') }} as path,
        {{ json_text('file', 'old_path') }} as old_path,
        {{ json_text('file', 'status') }} as status,
        try_cast({{ json_text('file', 'additions') }} as bigint) as additions,
        try_cast({{ json_text('file', 'deletions') }} as bigint) as deletions
    from listed
)

select *
from final
where path is not null
order by committed_at, commit_id, path
