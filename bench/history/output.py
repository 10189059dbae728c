"""The history as a table in text or Markdown, as a record, and as rows of sessions.csv."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from bench.history.series import Change, Examined, History, Series, machine_of
from bench.history.sessions import Session, Sessions
from bench.keys import short_name
from bench.output.paragraphs import lines, table
from bench.output.units import number, readable
from study.families import changed_pairs
from study.records.history import ChangeRecord, HistoryRecord, SeriesRecord

HEADINGS = ("series", "change", "95 % interval", "before", "after", "first session", "commit", "p", "changed as well")
COLUMNS = ("machine", "series", "time", "file", "commit", "value", "low", "high", "valid", "change")
"""Columns of sessions.csv."""
MOST = 4
"""Differences that a table names; the files have all."""


def record(history: History, read: Sessions) -> HistoryRecord:
    """The history as it is written."""
    return HistoryRecord(
        sessions=len(read.sessions),
        false_alarms=history.false_alarms,
        sessions_needed=history.needed,
        unreadable=read.unreadable,
        series=tuple(_series(one) for one in history.examined),
    )


def _series(one: Examined) -> SeriesRecord:
    series = one.series
    return SeriesRecord(
        name=series.name,
        model=series.key.model,
        variant=series.key.variant,
        runtime=series.key.runtime,
        batch=series.key.batch,
        threads=series.key.threads,
        mode=series.key.mode,
        device=series.key.device,
        reference=series.reference,
        machine=series.machine,
        sessions=len(series.points),
        invalid=len(series.points) - len(series.valid),
        enough=one.changes is not None,
        changes=tuple(_change(change) for change in one.changes or ()),
    )


def _change(change: Change) -> ChangeRecord:
    before, after = change.before.session, change.after.session
    return ChangeRecord(
        time=after.time.isoformat(),
        file=str(after.path),
        commit=after.record.environment.commit,
        commit_before=before.record.environment.commit,
        differences=change.differences,
        sessions_before=change.sessions[0],
        sessions_after=change.sessions[1],
        level_before=change.levels[0],
        level_after=change.levels[1],
        ratio=change.ratio,
        p=min(1.0, change.p),
    )


def rows(history: History) -> Iterator[dict[str, object]]:
    """The rows of sessions.csv: a session of a series each; `change` is the ratio where a new level begins."""
    for one in history.examined:
        begins = {id(change.after): change.ratio.value for change in one.changes or ()}
        for point in one.series.points:
            yield {
                "machine": one.series.machine,
                "series": one.series.name,
                "time": point.session.time.isoformat(),
                "file": str(point.session.path),
                "commit": point.session.record.environment.commit,
                "value": point.value.value,
                "low": point.value.low,
                "high": point.value.high,
                "valid": point.valid,
                "change": begins.get(id(point)),
            }


def paragraphs(history: History, read: Sessions, markdown: bool) -> Iterator[str]:
    """The paragraphs of the output, in Markdown or plain text."""
    yield lines([*heads(history, read.sessions), *read.remarks], markdown)
    if found := list(history.changes):
        yield _changes(found, markdown)
    yield lines([*conclusion(history), *other_best(read.sessions)], markdown)


def heads(history: History, sessions: Sequence[Session]) -> Iterator[str]:
    """Number and dates of the sessions, and each machine."""
    yield f"{len(sessions)} sessions, {sessions[0].time:%Y-%m-%d %H:%M} to {sessions[-1].time:%Y-%m-%d %H:%M}"
    for _, group in groupby(history.examined, key=lambda one: one.series.machine):
        own = [one.series for one in group]
        files = {point.session.path for series in own for point in series.points}
        yield f"{machine_of(own[0])}: {len(own)} series, {len(files)} sessions"


def conclusion(history: History) -> Iterator[str]:
    """What the changes are worth, and the series that show none because their sessions are too few."""
    examined = [one for one in history.examined if one.changes is not None]
    changed = [one for one in examined if one.changes]
    invalid = sum(len(one.series.points) - len(one.series.valid) for one in history.examined)
    yield (
        f"{len(changed)} of {len(examined)} series change; the chance of one false change or more in all of them is at "
        f"most {history.false_alarms:.0%}"
    )
    if invalid:
        yield f"left out: {invalid} measurements that are not valid"
    if short := [one.series for one in history.examined if one.changes is None]:
        most = max(len(series.valid) for series in short)
        yield f"not decided: {len(short)} series with at most {most} valid sessions; {history.needed} are needed"
    counts = Counter("slower" if one.slower else "faster" for one in changed if one.series.reference is None)
    if counts:
        yield f"cases by their last change: {counts['slower']} slower, {counts['faster']} faster"


def other_best(sessions: Sequence[Session]) -> Iterator[str]:
    """Where best against best is not the same pair in all sessions of a machine: each pair has a series of its own."""
    machines = sorted({session.record.environment.fingerprint for session in sessions})
    for machine in machines:
        own = [one.record.comparisons for one in sessions if one.record.environment.fingerprint == machine]
        for key, pairs in changed_pairs(own).items():
            listed = ", ".join(f"{pair} in {n}" for pair, n in pairs.most_common())
            yield f"{short_name(key)} is not the same pair in all sessions: {listed}"


def _changes(found: Sequence[tuple[Series, Change]], markdown: bool) -> str:
    """One row a change."""
    several = len({series.machine for series, _ in found}) > 1
    return table(HEADINGS, [_row(series, change, several) for series, change in found], "lrrrrllll", markdown)


def _row(series: Series, change: Change, several: bool) -> list[str]:
    also = change.differences
    more = [f"and {len(also) - MOST} more"] if len(also) > MOST else []
    return [
        f"{series.name} ({series.machine})" if several else series.name,
        percent(change.ratio.value),
        f"{percent(change.ratio.low)} to {percent(change.ratio.high)}",
        *(level(series, value) for value in change.levels),
        f"{change.after.session.time:%Y-%m-%d %H:%M}",
        f"{change.before.session.commit}..{change.after.session.commit}",
        f"{change.p:.1g}",
        ", ".join([*also[:MOST], *more]),
    ]


def percent(ratio: float) -> str:
    """A ratio as a change, such as +3.1 %."""
    return f"{100 * (ratio - 1):+.1f} %"


def level(series: Series, value: float) -> str:
    """A value of a series with its unit."""
    return readable(value) if series.reference is None else f"{number(value, 3)}x"
