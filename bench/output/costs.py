"""The tables of fixed costs and costs per item, and of GFLOP/s, at the terminal."""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from bench.output.columns import Column, key_columns
from bench.output.units import decimals, number, unit
from study.costs import Costs, costs, flops_per_second
from study.records.bench import BenchRecord, CaseKey
from study.student import Estimate

TITLE = "fixed cost and cost per item in {}, ± half the 95 % interval: b items take fixed + per item * b"
OFF = "; off the line: how far the median is from that, where it is by over 5 %"


def fixed_and_per_item(record: BenchRecord, numbers: dict[int, str]) -> tuple[str, list[Column]] | None:
    """The table of the engines that were measured at several batch sizes."""
    rows = costs(record.cases)
    if not rows:
        return None
    name, size = unit([abs(value) for row in rows for value in (row.fixed.value, row.per_item.value) if value])
    off = [off_the_line(row) for row in rows]
    columns = [
        *_engines([row.key for row in rows]),
        Column("batches", [",".join(map(str, row.batches)) for row in rows], left=True, same=True, spare=True),
        Column("fixed", [with_half(row.fixed, size) for row in rows]),
        Column("per item", [with_half(row.per_item, size) for row in rows]),
        Column("off the line", off, left=True),
        Column("valid", [_validity(row, numbers) for row in rows], left=True),
    ]
    return TITLE.format(name) + (OFF if any(off) else ""), columns


def _engines(keys: Sequence[CaseKey]) -> list[Column]:
    return [column for column in key_columns(keys) if column.heading != "batch"]


def with_half(one: Estimate, size: float) -> str:
    """Such as 187.0 ± 1.3, with two digits of the second number; without an interval the value alone."""
    value, half = one.value / size, (one.high - one.low) / 2 / size
    if half == 0:
        return f"{value:,.{decimals(abs(value) or 1)}f}"
    digits = decimals(half, 2)
    return f"{value:,.{digits}f} ± {half:,.{digits}f}"


def off_the_line(row: Costs) -> str:
    """The largest miss beyond the noise, such as +12% at 8."""
    return next((f"{miss:+.0%} at {batch}" for batch, miss in row.misses.items()), "")


def _validity(row: Costs, numbers: dict[int, str]) -> str:
    reasons = dict.fromkeys(n for case in row.cases for n in numbers[id(case)].split(",") if n)
    if row.valid:
        return "yes"
    return f"no: {','.join(sorted(reasons, key=int))}" if reasons else "no: too few processes in common"


def rates(record: BenchRecord, numbers: dict[int, str]) -> tuple[str, list[Column]] | None:
    """The table of GFLOP/s: a row a model and engine, a column a batch size, with shares of the machine's peak."""
    peaks = {one.threads: one.flops_per_second for one in record.matrix_products}
    rows: dict[CaseKey, dict[int, str]] = {}
    for case in record.cases:
        if rate := flops_per_second(case):
            peak = peaks.get(case.key.threads) if case.key.device == "cpu" else None
            share = f" ({number(100 * rate / peak, 2)}%)" if peak else ""
            rows.setdefault(replace(case.key, batch=1), {})[case.key.batch] = f"{number(rate / 1e9, 3)}{share}"
    if not rows:
        return None
    batches = sorted({batch for cells in rows.values() for batch in cells})
    columns = [
        *_engines(list(rows)),
        *(
            Column(f"batch {batch}", [cells.get(batch, "") for cells in rows.values()], spare=batch not in ends)
            for ends in [(batches[0], batches[-1])]
            for batch in batches
        ),
    ]
    return f"GFLOP/s{_shares(record, {key.threads for key in rows})}", columns


def _shares(record: BenchRecord, threads: Collection[int]) -> str:
    """Which products of matrices the shares are of."""
    texts = [
        f"{number(one.flops_per_second / 1e9, 3)} with {one.threads} thread{'s' if one.threads > 1 else ''} "
        f"({one.library}, {one.size} x {one.size})"
        for one in record.matrix_products
        if one.threads in threads
    ]
    return f", with the share of the fastest float32 matrix product, {', '.join(texts)}" if texts else ""
