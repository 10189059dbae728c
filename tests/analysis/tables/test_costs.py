"""The table of fixed costs and costs per item, and the columns of arithmetic, from made-up measurements."""

from typing import Any

import pandas as pd
import pytest

from analysis.tables import headline
from analysis.tables.columns import text
from analysis.tables.costs import COSTS
from analysis.tables.numbers import TIMES
from study.artifacts import Artifacts
from tests.analysis.tables.test_latency import HOT, tables
from tests.support.records import case, matrix_product
from tests.support.study import only, write_bench

TORCH, ONNX = (187e-6, 38.6e-6), (12e-6, 15.1e-6)


def line(artifacts: Artifacts, runtime: str, costs: tuple[float, float], **changes: Any) -> list[Any]:
    fixed, per_item = costs
    return [case(artifacts, "baseline", runtime, b, fixed + per_item * b, **changes) for b in (1, 8, 32)]


def test_a_row_has_both_costs_and_the_ratios_to_torch(artifacts: Artifacts) -> None:
    write_bench(artifacts, [*line(artifacts, "onnxruntime", ONNX), *line(artifacts, "torch", TORCH)])
    frame = tables(artifacts)["costs"]
    torch, onnx = only(frame, runtime="torch"), only(frame, runtime="onnxruntime")
    assert (onnx.fixed_seconds, onnx.per_item_seconds) == pytest.approx(ONNX)
    assert (onnx.batches, onnx.processes, onnx.reference, onnx.valid) == ("1, 8, 32", 5, "torch", True)
    assert (onnx.fixed_ratio, onnx.per_item_ratio) == pytest.approx((187 / 12, 38.6 / 15.1))
    assert pd.isna([torch.reference, torch.fixed_ratio, onnx.miss]).all()
    shown = text(COSTS, frame).to_dict("records")[0]
    # t(4) = 2.776 times the standard deviation of 0.99, 0.995, 1, 1.005 and 1.01, over sqrt 5: 0.98 %
    assert (shown["fixed, µs"], shown["per item, µs"]) == ("12.0 (11.9 to 12.1)", "15.10 (14.95 to 15.25)")
    assert shown["fixed, ratio"].startswith(f"15.58{TIMES}")


def test_a_miss_and_an_invalid_case_are_shown(artifacts: Artifacts) -> None:
    cases = line(artifacts, "torch", TORCH)
    cases[1] = case(artifacts, "baseline", "torch", 8, 1e-3, **HOT)
    write_bench(artifacts, cases)
    frame = tables(artifacts)["costs"]
    assert (only(frame).valid, only(frame).miss_batch) == (False, 8)
    assert only(frame).miss > 0.1
    assert text(COSTS, frame)["off the line"].tolist() == [f"+{100 * only(frame).miss:.0f} % at batch 8"]


def test_a_session_has_a_row_and_the_headline_is_their_mean(artifacts: Artifacts) -> None:
    for name, factor in (("a", 1.0), ("b", 1.1), ("c", 0.9)):
        write_bench(artifacts, line(artifacts, "torch", (factor * 187e-6, 38.6e-6)), name=name)
    frame = tables(artifacts, "a", "b", "c")["costs"]
    assert frame["file"].tolist() == ["a", "b", "c"]
    row = only(headline.costs(frame))
    assert (row.fixed_seconds, row.sessions, row.processes) == (pytest.approx(187e-6), 3, 15)
    # t(2) = 4.30265 times the standard deviation of 0.9, 1 and 1.1, over sqrt 3
    assert row.fixed_high_seconds == pytest.approx(187e-6 * (1 + 4.302653 * 0.1 / 3**0.5))


def test_of_two_sessions_the_headline_is_in_the_hull_of_their_intervals(artifacts: Artifacts) -> None:
    for name, factor in (("a", 1.0), ("b", 1.1)):
        write_bench(artifacts, line(artifacts, "torch", (factor * 187e-6, 38.6e-6)), name=name)
    frame = tables(artifacts, "a", "b")["costs"]
    row = only(headline.costs(frame))
    assert (row.fixed_low_seconds, row.fixed_high_seconds) == pytest.approx(
        (frame["fixed_low_seconds"].min(), frame["fixed_high_seconds"].max())
    )


def test_a_case_has_its_rate_and_the_share_of_its_sessions_peak(artifacts: Artifacts) -> None:
    """416,520 multiply-accumulates an image."""
    cases = [
        case(artifacts, "baseline", "torch", 32, 1e-3),
        case(artifacts, "baseline", "torch", 1, 1e-3, threads=2),
        case(artifacts, "baseline", "onnxruntime", 1, 1e-3, macs=None),
    ]
    write_bench(artifacts, cases, matrix_products=[matrix_product(100e9)])
    frame = tables(artifacts)["latency"]
    large, others = only(frame, batch=32), frame[frame["batch"] == 1]
    assert large.flops_per_second == pytest.approx(2 * 416_520 * 32 / 1e-3)
    assert large.peak_share == pytest.approx(2 * 416_520 * 32 / 1e-3 / 100e9)
    assert others["peak_share"].isna().all(), "no peak with two threads, no multiply-accumulates"
    assert others["flops_per_second"].notna().tolist() == [True, False]
