"""The comparison of two sides in words, and the decision of the gate."""

from collections.abc import Iterator, Sequence

import numpy as np

from bench.ab.sides import Side
from bench.gate.decision import decide, exit_code
from bench.gate.welch import Contrast, stacked
from bench.output.paragraphs import lines, table
from bench.output.units import number, unit
from study.records.ab import AbComparison, AbRecord, SideRecord
from study.records.bench import CaseKey, Verdict

HEADINGS = ("", "A", "B", "B / A", "95 % interval", "verdict")
WORDS: dict[Verdict, str] = {
    "faster": "B is faster",
    "slower": "B is slower",
    "the same": "the same within {margin:.3g} %",
    "undecided": "undecided",
    "withheld": "withheld",
}


def paragraphs(record: AbRecord, sides: Sequence[Side], limit: float | None, markdown: bool) -> Iterator[str]:
    """The paragraphs of the report, in Markdown or plain text.

    Args:
        limit: of the gate, as a share; None without one.
    """
    first = record.comparisons[0]
    described = [
        _described(name, side, key, whole.checkout != sides[0].checkout or whole.python != sides[0].python)
        for name, side, key, whole in zip("AB", (record.a, record.b), (first.a, first.b), sides, strict=True)
    ]
    yield lines(described, markdown)
    yield _table(record.comparisons, markdown)
    notes = [*_notes(record.comparisons), *([_gate(record, limit)] if limit is not None else [])]
    yield lines(notes, markdown)


def _described(name: str, side: SideRecord, key: CaseKey, elsewhere: bool) -> str:
    engine = key.runtime.partition("-")[0]
    version = f" {side.packages[engine]}" if engine in side.packages else ""
    words = [f"{key.runtime}{version}", f"{key.threads} thread{'s' if key.threads > 1 else ''}"]
    words += [f"{option}={value}" for option, value in side.options.items()]
    words += [f"Python {side.python}"] if elsewhere else []
    words += [f"commit {side.commit[:12]}"] if elsewhere and side.commit else []
    return f"{name}: {side.word}: {', '.join(words)}, {side.onnx_bytes / 1024:,.1f} KiB"


def _table(comparisons: Sequence[AbComparison], markdown: bool) -> str:
    rows = []
    for one in comparisons:
        times = [one.median_seconds_a.value, one.median_seconds_b.value]
        name, size = unit(times)
        ratio = [f"{one.ratio.value:.4f}", f"{one.ratio.low:.4f} to {one.ratio.high:.4f}"] if one.valid else ["-", "-"]
        verdict = WORDS[one.verdict].format(margin=one.margin * 100)
        rows.append([f"batch {one.a.batch}", *(f"{number(each / size)} {name}" for each in times), *ratio, verdict])
    return table(HEADINGS, rows, "lrrrrl", markdown)


def _notes(comparisons: Sequence[AbComparison]) -> Iterator[str]:
    for one in comparisons:
        yield f"batch {one.a.batch}: {_outputs(one)}"
        if not one.valid:
            yield f"batch {one.a.batch}: INVALID: {'; '.join(one.reasons)}"
    pairs = min(len(one.processes) for one in comparisons)
    yield (
        f"the intervals are over {pairs} pairs of fresh processes on this machine, today; another machine, or this one "
        "after a restart, may differ by more"
    )


def _outputs(one: AbComparison) -> str:
    parity, differences = one.outputs.parity, one.outputs.differences
    if parity is None:
        return f"the outputs cannot be compared: {'; '.join(differences)}"
    classes = f"{parity.argmax_mismatches} of {parity.images:,} items have another largest value"
    text = f"largest difference {parity.max_abs_difference:.1e}, {classes}"
    return f"the outputs differ ({text}): {'; '.join(differences)}" if differences else f"the outputs agree ({text})"


def contrast(one: AbComparison) -> Contrast:
    """The logarithm of B / A over the pairs of processes that count, for the gate: Student's t of one sample."""
    logs = np.log([process.ratio for process in one.processes if process.valid])
    freedom = len(logs) - 1
    error = np.std(logs, ddof=1) / np.sqrt(len(logs)) if freedom else np.inf
    return Contrast(np.asarray(np.mean(logs)), np.asarray(error), np.asarray(max(1, freedom)))


def verdicts(record: AbRecord, limit: float) -> list[str]:
    """The gate's verdict on B at each batch size; all are one family."""
    valid = [one for one in record.comparisons if one.valid]
    decided = iter(decide(stacked([contrast(one) for one in valid]), np.log1p(limit)).tolist() if valid else [])
    return [next(decided) if one.valid else "withheld" for one in record.comparisons]


def code(record: AbRecord, limit: float | None) -> int:
    """The exit code: without a limit 0, for what was measured; else 0, 1 or 3 as the gate decides."""
    return 0 if limit is None else exit_code(verdicts(record, limit))


def _gate(record: AbRecord, limit: float) -> str:
    found = verdicts(record, limit)
    shown = ", ".join(f"batch {one.a.batch} {word}" for one, word in zip(record.comparisons, found, strict=True))
    measure = "; measure with more --processes" if exit_code(found) == 3 else ""
    return f"gate at {limit:.1%}: {shown}: exit code {exit_code(found)}{measure}"
