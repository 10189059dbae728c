"""What the zeros are worth, from made-up runs whose zeros are known."""

from typing import Any

import numpy as np
import pytest
from msgspec import structs

from analysis.inputs.forms import of_study
from analysis.pages.markup import render
from analysis.pages.zeros import answers, values
from analysis.tables.latency import comparisons
from analysis.tables.zeros import ranks_of, zeros
from study.artifacts import Artifacts
from study.record_files import write_record
from tests.support.ab import compared
from tests.support.exports import write_compact
from tests.support.records import case, comparison
from tests.support.study import layers, only, study_of, write_bench, write_run


@pytest.fixture(autouse=True)
def sparse_run(artifacts: Artifacts) -> None:
    write_run(artifacts, "l1-1e-3", 0, layers(0, zeros=0.25), test_error=0.101)


def tables(artifacts: Artifacts, model: str = "l1-1e-3") -> tuple[Any, Any, Any]:
    study = study_of(artifacts, model)
    subjects = of_study(study)
    ranks = ranks_of(({"model": run.model, "seed": run.seed}, each) for run in study.runs for each in run.layers)
    return subjects, zeros(subjects, study.paired), ranks


def sentences(artifacts: Artifacts, model: str = "l1-1e-3") -> str:
    subjects, table, ranks = tables(artifacts, model)
    return render("zeros.j2", "txt", **values(list(answers(subjects, table, ranks)), table))


def test_the_bounds_and_sizes_of_a_quarter_of_zeros(artifacts: Artifacts) -> None:
    """A quarter of the 48,000 weights of fc1 is zero, 30 whole rows, of 58,920 in all."""
    _, table, ranks = tables(artifacts)
    dense = only(table)
    assert (dense.form, dense.fc_weights) == ("dense", 58_920)
    assert dense.exact_zeros == pytest.approx(12_000 / 58_920)
    assert dense.fc_bound == pytest.approx(58_920 / 46_920)
    assert dense.nonzero_bytes == 46_920 * 4 + 58_920 / 8
    fc1 = only(ranks, layer="fc1", seed=0)
    assert (fc1.dead_rows, fc1.dead_columns, fc1.zeros_in_dead) == (30, 0, 1.0)
    assert fc1.stable_rank == pytest.approx((np.linalg.norm(w := layers(0, 0.25)["fc1"]) / np.linalg.norm(w, 2)) ** 2)
    assert fc1.rank == 90


def test_without_dead_units_the_file_is_compared_in_turns_with_the_dense_one(artifacts: Artifacts) -> None:
    write_compact(artifacts, "l1-1e-3", 0.9)
    compact = only(tables(artifacts)[1], form="compact")
    assert (compact.units_removed, compact.fc_weights, compact.exact_zeros) == (30, 58_920 - 30 * (400 + 84), 0.0)
    assert compact.ratio == pytest.approx(0.9, abs=1e-4)
    assert (compact.in_turns, compact.latency_verdict) == (True, "faster")
    assert "compact takes 0.90 (0.90 to 0.90) times as long as dense (faster)" in sentences(artifacts)


def test_torch_with_compressed_rows_is_compared_with_dense_torch(artifacts: Artifacts) -> None:
    key = case(artifacts, "l1-1e-3", "torch", 1, 1e-4).key
    sparse = structs.replace(key, runtime="torch-sparse")
    write_record(artifacts.root / "ab" / "csr.json", compared(key, sparse, 1.5))
    row = only(tables(artifacts)[1], form="torch-sparse")
    assert (row.ratio, row.latency_verdict) == (pytest.approx(1.5, abs=1e-4), "slower")
    assert "torch-sparse takes 1.50 (1.49 to 1.51) times as long as dense in PyTorch (slower)" in sentences(artifacts)


def test_a_comparison_of_pytest_bench_is_taken_where_bench_ab_has_none(artifacts: Artifacts) -> None:
    """Half as fast is twice the time."""
    slow = comparison(artifacts, "l1-1e-3", 1, 0.5, 0.4, 0.625, runtime="torch-sparse", verdict="slower")
    write_bench(artifacts, [], [slow])
    pairs = comparisons(study_of(artifacts, "l1-1e-3").measured)
    subjects, _, _ = tables(artifacts)
    row = only(zeros(subjects, (), pairs=pairs), form="torch-sparse")
    assert (row.ratio, row.ratio_low, row.ratio_high) == pytest.approx((2.0, 1.6, 2.5))
    assert row.latency_verdict == "slower"


def test_what_is_not_measured_is_said_with_the_command(artifacts: Artifacts) -> None:
    assert "any form but the dense one is missing: run `python -m bench zeros l1-1e-3`" in sentences(artifacts)
    write_compact(artifacts, "l1-1e-3", 0.9, valid=False)
    assert "no verdict on compact, because the measurement is invalid" in sentences(artifacts)


def test_a_model_without_zeros_has_nothing_to_skip(artifacts: Artifacts) -> None:
    text = sentences(artifacts, "baseline")
    assert text.startswith("baseline: no fully-connected weight is exactly zero, so there is nothing to skip.")
    assert "Why is a network not faster" not in text


def test_weights_that_are_not_finite_have_no_share(artifacts: Artifacts) -> None:
    weights = layers(0)
    weights["fc1"][0, 0] = np.nan
    write_run(artifacts, "l1-1e-3", 0, weights, test_error=0.101)
    subjects, table, ranks = tables(artifacts)
    assert np.isnan(only(table).exact_zeros)
    assert only(ranks, layer="fc1", seed=0).reason == "a weight is not finite"
    assert list(answers(subjects, table, ranks)) == []
