with commits as (
    select * from {{ ref('stg_commits') }}
),

named as (
    select
        commit_id,
        repository,
        sha,
        committed_at,
        unnest(reverts) as named_sha
    from commits
    where is_revert
),

-- The first seven digits are the shortest that a message has; they keep the join from comparing all with all.
matches as (
    select
        named.*,
        reverted.commit_id as reverted_commit_id,
        reverted.sha as reverted_sha,
        reverted.committed_at as reverted_committed_at
    from named
    left join commits as reverted
        on
            named.repository = reverted.repository
            and left(named.named_sha, 7) = left(reverted.sha, 7)
            and starts_with(reverted.sha, named.named_sha)
            and named.sha <> reverted.sha
    where named.named_sha is not null
),

final as (
    select
        repository,
        commit_id as reverting_commit_id,
        committed_at as reverted_at,
        named_sha,
        count(reverted_sha) as match_count,
        -- A hash that fits two commits names neither.
        case when count(reverted_sha) = 1 then min(reverted_commit_id) end as reverted_commit_id,
        case
            when count(reverted_sha) = 1
                then {{ seconds_between('min(reverted_committed_at)', 'committed_at') }}
        end as stood_seconds
    from matches
    group by repository, commit_id, committed_at, named_sha
)

select *
from final
order by reverted_at, reverting_commit_id, named_sha
