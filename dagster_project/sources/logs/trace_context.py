"""Trace context in records that are no OTLP: ids in fields, and ids in text, as SQL over columns of texts.

A trace id is a text of 32 hexadecimal digits here, in either case, a span id a text of 16. A trace id of 16 digits, as
of systems that have 64 bits, is filled with zeros on the left; AWS X-Ray's `1-<8>-<24>` is its 32 digits. All zeros are
no id. What is none of these is no trace context: it is kept where it was sent, and refuses nothing.
"""

from __future__ import annotations

from string import Template

# The length is asked first: it costs less than a pattern.
_TRACE = Template(
    """
    nullif(case length($id)
        when 32 then case when regexp_full_match($id, '[0-9a-fA-F]{32}') then $id end
        when 16 then case when regexp_full_match($id, '[0-9a-fA-F]{16}') then '0000000000000000' || $id end
        when 35 then case when regexp_full_match($id, '1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24}')
            then replace(substr($id, 3), '-', '') end
        when 36 then case when regexp_full_match($id, '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}')
            then replace($id, '-', '') end
    end, '00000000000000000000000000000000')
    """
)
_SPAN = Template(
    """
    nullif(case when length($id) = 16 and regexp_full_match($id, '[0-9a-fA-F]{16}') then $id end, '0000000000000000')
    """
)
_DECIMAL = Template("nullif(lpad(to_hex(try_cast($id as ubigint)), 16, '0'), '0000000000000000')")
_PARENT = "'^[0-9a-fA-F]{2}-([0-9a-fA-F]{32})-([0-9a-fA-F]{16})-[0-9a-fA-F]{2}'"

# In text, `trace_id=…`, `traceId: …`, `"trace.id":"…"`, also within JSON within JSON; and W3C's `traceparent: 00-…`.
_MARK = """["'\\\\]*\\s*[:=]\\s*["'\\\\]*"""
_END = "(?:[^0-9a-zA-Z]|$)"
_IDS = "([0-9a-f]{32}|[0-9a-f]{16}|1-[0-9a-f]{8}-[0-9a-f]{24})"
_TEXT_TRACE = f"'(?i)trace[_. -]?id{_MARK.replace(chr(39), chr(39) * 2)}{_IDS}{_END}'"
_TEXT_SPAN = f"'(?i)span[_. -]?id{_MARK.replace(chr(39), chr(39) * 2)}([0-9a-f]{{16}}){_END}'"
_TEXT_PARENT = (
    f"'(?i)traceparent{_MARK.replace(chr(39), chr(39) * 2)}"
    f"([0-9a-f]{{2}}-[0-9a-f]{{32}}-[0-9a-f]{{16}}-[0-9a-f]{{2}}){_END}'"
)


def trace_hex(column: str) -> str:
    """SQL: the trace id that a field holds, as 32 digits; null when it holds none."""
    return _TRACE.substitute(id=column)


def span_hex(column: str) -> str:
    """SQL: the span id that a field holds, as 16 digits; null when it holds none."""
    return _SPAN.substitute(id=column)


def decimal_trace_hex(column: str) -> str:
    """SQL: as `trace_hex`; digits of up to 64 bits are a decimal number, as Datadog writes it."""
    number = _DECIMAL.substitute(id=column)
    return f"coalesce('0000000000000000' || {number}, {_TRACE.substitute(id=column)})"


def decimal_span_hex(column: str) -> str:
    """SQL: as `span_hex`, of a decimal number."""
    return _DECIMAL.substitute(id=column)


def parent_trace_hex(column: str) -> str:
    """SQL: the trace id of a `traceparent`."""
    return trace_hex(f"regexp_extract({column}, {_PARENT}, 1)")


def parent_span_hex(column: str) -> str:
    """SQL: the span id of a `traceparent`."""
    return span_hex(f"regexp_extract({column}, {_PARENT}, 2)")


def in_text(relation: str, column: str) -> str:
    """A query: `relation` and the columns `trace_hex`, `span_hex`, from ids found in the texts of a column.

    The first id under each name counts; a `traceparent` counts where there is no trace id.
    """
    return _IN_TEXT.substitute(
        relation=relation,
        column=column,
        trace=_TEXT_TRACE,
        span=_TEXT_SPAN,
        parent=_TEXT_PARENT,
        trace_hex=trace_hex("trace_found"),
        span_hex=span_hex("span_found"),
        parent_trace=parent_trace_hex("parent_found"),
        parent_span=parent_span_hex("parent_found"),
    )


# Most texts hold no id: only those with the word in them are looked at closely.
_IN_TEXT = Template(
    """
    select * exclude (parent_found, trace_found, span_found),
        coalesce($trace_hex, $parent_trace) as trace_hex,
        coalesce($span_hex, $parent_span) as span_hex
    from (
        select *,
            case when contains($column, 'race') or contains($column, 'RACE')
                then regexp_extract($column, $trace, 1) end as trace_found,
            case when contains($column, 'pan') or contains($column, 'PAN')
                then regexp_extract($column, $span, 1) end as span_found,
            case when contains($column, 'race') or contains($column, 'RACE')
                then regexp_extract($column, $parent, 1) end as parent_found
        from $relation
    ) as found
    """
)
