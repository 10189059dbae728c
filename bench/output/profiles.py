"""The profiles at the terminal: modules side by side in each engine, and the operators that take longest."""

from collections.abc import Iterator, Sequence
from itertools import islice

from bench.keys import model_name
from bench.output.columns import Column, valid_column
from bench.output.units import decimals, unit
from study.profiles import UNKNOWN, groups, side_by_side
from study.records.profile import OperatorRecord, ProfileRecord

Titled = tuple[str, list[Column]]
MOST_GROUPS, MOST_MODULES, MOST_OPERATORS = 4, 10, 3
"""Tables, rows of modules in each, and rows of operators of each engine."""


def profiles(records: Sequence[ProfileRecord], numbers: dict[int, str]) -> Iterator[Titled]:
    """Two tables for each model and batch.

    Args:
        numbers: of the reasons of each profile, by its id.
    """
    several = groups(records)
    for group in islice(several, MOST_GROUPS):
        yield _modules(group)
        yield _operators(group, numbers)


def left(records: Sequence[ProfileRecord]) -> str:
    """A line on the profiles that have no table; empty if all have."""
    more = len(groups(records)) - MOST_GROUPS
    return f"and {more} more profiled calls, in the JSON and the report" if more > 0 else ""


def _call(group: Sequence[ProfileRecord]) -> str:
    key = group[0].key
    threads = f", {key.threads} threads" if key.threads > 1 else ""
    return f"{model_name(key)}, batch {key.batch}{threads}"


def _modules(group: Sequence[ProfileRecord]) -> Titled:
    rows = side_by_side(group)
    shown = sorted(rows, key=lambda row: -max(row.seconds.values()))[:MOST_MODULES]
    rows_shown, others = [row for row in rows if row in shown], [row for row in rows if row not in shown]
    name, size = unit([one.unprofiled_seconds for one in group])
    titles = [row.title for row in rows_shown] + ([f"{len(others)} others"] if others else [])
    titles += ["outside of operators", "together", "without profiler"]
    columns = [Column("module", titles, left=True)]
    for profile in group:
        runtime = profile.key.runtime
        times = [row.seconds.get(runtime) for row in rows_shown]
        times += [sum(row.seconds.get(runtime, 0.0) for row in others)] if others else []
        together = sum(one.seconds for one in profile.operators) + profile.outside_seconds
        times += [profile.outside_seconds, together, profile.unprofiled_seconds]
        digits = decimals(profile.unprofiled_seconds / size)
        cells = ["" if seconds is None else f"{seconds / size:,.{digits}f}" for seconds in times]
        columns.append(Column(runtime, cells))
    return f"where the time of a call goes, by module, in {name}: {_call(group)}", columns


def _operators(group: Sequence[ProfileRecord], numbers: dict[int, str]) -> Titled:
    name, size = unit([one.unprofiled_seconds for one in group])
    rows: list[tuple[ProfileRecord, OperatorRecord]] = []
    for profile in group:
        longest = sorted(profile.operators, key=lambda one: -one.seconds)[:MOST_OPERATORS]
        rows += [(profile, one) for one in longest]
    columns = [
        Column("operator", _told_apart(rows), left=True),
        Column("runtime", [profile.key.runtime for profile, _ in rows], left=True),
        Column(
            "kind", [one.kind if one.kind != one.name else one.kernel or "" for _, one in rows], left=True, spare=True
        ),
        Column("module", [UNKNOWN if one.module is None else one.module for _, one in rows], left=True, spare=True),
        Column(name, [f"{one.seconds / size:,.{decimals(max(one.seconds / size, 0.01), 3)}f}" for _, one in rows]),
        Column("%", [f"{100 * one.seconds / profile.unprofiled_seconds:.0f}" for profile, one in rows]),
        valid_column([profile for profile, _ in rows], numbers),
    ]
    return f"the operators that take longest: {_call(group)}", columns


def _told_apart(rows: Sequence[tuple[ProfileRecord, OperatorRecord]]) -> list[str]:
    """The names of the operators; with its place in the call where an engine runs several that are called so."""
    names = []
    for profile, one in rows:
        places = [i for i, other in enumerate(profile.operators, 1) if other.name == one.name]
        place = next(i for i, other in enumerate(profile.operators, 1) if other is one)
        names.append(one.name if len(places) == 1 else f"{one.name}, operator {place}")
    return names
