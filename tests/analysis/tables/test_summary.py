"""Tables of training and of weights: the summary's means and verdicts, runs, epochs, sparsity, pruning."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest

from analysis.inputs.study import Study
from analysis.pages.report import all_tables
from analysis.tables import search as search_tables
from analysis.tables.columns import text
from analysis.tables.sparsity import sparsity
from analysis.tables.summary import SUMMARY
from study.artifacts import Artifacts
from tests.support.records import search_record
from tests.support.study import L1_ERRORS, layers, only, study_of, write_run, write_study

Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    artifacts = Artifacts(tmp_path_factory.mktemp("study"))
    write_study(artifacts)
    return study_of(artifacts, "baseline", "l1-1e-3", "gap")


@pytest.fixture(scope="module")
def frames(study: Study) -> Frames:
    return all_tables(study)


@pytest.fixture(scope="module")
def summary(frames: Frames) -> pd.DataFrame:
    return frames["summary"]


class TestSummary:
    def test_mean_and_sample_standard_deviation_of_the_runs(self, summary: pd.DataFrame) -> None:
        row = only(summary, model="l1-1e-3")
        assert row.test_error_mean == pytest.approx(statistics.mean(L1_ERRORS), abs=1e-15)
        assert row.test_error_std == pytest.approx(statistics.stdev(L1_ERRORS), abs=1e-15)
        assert (row.train_error_mean, row.runs) == (pytest.approx(0.05), 3)

    def test_models_are_compared_with_the_first_one(self, summary: pd.DataFrame) -> None:
        assert summary["verdict"].tolist() == ["baseline", "worse", "not distinguishable"]
        assert summary["parameters_change"].tolist() == pytest.approx([0, 0, (12_502 - 61_706) / 61_706])

    def test_shares_are_over_all_fully_connected_weights_and_empty_without_any(self, summary: pd.DataFrame) -> None:
        zeros = 0.5 * 48_000 / 58_920  # 25, 50 and 75 % of fc1
        assert summary["fc_exact_zeros_mean"].tolist() == pytest.approx([0, zeros, math.nan], nan_ok=True)
        assert summary["fc_cut_mean"].tolist() == pytest.approx([1.9 / 3, 1.9 / 3, math.nan], nan_ok=True)
        assert summary["fc_weights"].tolist() == [58_920, 58_920, 0]

    def test_one_run_has_no_spread_and_is_not_judged(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {}, test_error=0.5, parameters=30_853)
        summary = all_tables(study_of(artifacts, "gap", "baseline"))["summary"]
        assert summary["verdict"].tolist() == ["baseline", "not judged"]
        assert summary["test_error_std"].isna().all()
        assert text(SUMMARY, summary)["test error, %"].tolist() == ["50.00", "8.00"]
        assert text(SUMMARY, summary)["parameters"].tolist() == ["30,853", "61,706 (+100.0 %)"]

    def test_without_the_first_model_nothing_is_compared(self, artifacts: Artifacts) -> None:
        (row,) = all_tables(study_of(artifacts, "gap", "baseline"))["summary"].to_dict("records")
        assert row["verdict"] == "not judged"
        assert math.isnan(row["parameters_change"])


class TestTraining:
    def test_runs_has_a_row_a_run_with_all_digits(self, frames: Frames, study: Study) -> None:
        assert len(frames["runs"]) == 8
        run = only(frames["runs"], model="l1-1e-3", seed=2)
        assert (run.test_error, run.test_error_onnxruntime, run.parity_max_abs_difference) == (0.106, 0.106, 2e-7)
        assert run.onnx_bytes == study.runs[5].files.onnx.stat().st_size
        assert run.fc_exact_zeros == 36_000 / 58_920
        assert [run.fc_cut, run.fc_cut_loss, run.fc_cut_test_loss] == pytest.approx([0.6, 0.004, 0.003])

    def test_convergence_has_history_csv_of_every_run(self, frames: Frames) -> None:
        assert len(frames["convergence"]) == 8 * 3
        second = frames["convergence"].iloc[1].dropna().to_dict()
        assert second == {
            **{"model": "baseline", "seed": 0, "epoch": 2, "lr": 0.05},
            **{"train_loss": 0.5, "train_error": 0.3, "seconds": 3.0},
        }

    def test_history_has_accuracies_and_the_epoch_that_was_kept(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "baseline", 0, layers(0), validation=(0.3, 0.1, 0.2))
        history = all_tables(study_of(artifacts))["history"]
        assert history["validation_accuracy"].tolist() == pytest.approx([0.7, 0.9, 0.8])
        assert history["train_accuracy"].tolist() == pytest.approx([0.45, 0.7, 1 - 0.05 - 0.5 / 3])
        assert history["kept"].tolist() == [False, True, False]

    def test_every_share_that_was_pruned_has_a_row_and_the_chosen_one_is_marked(self, frames: Frames) -> None:
        table = frames["pruning"].query("model == 'baseline' and seed == 1")
        assert table["share"].tolist() == [0.0, 0.5, 0.7, 0.75, 1.0]
        assert table.loc[table["chosen"], "share"].tolist() == [0.7]
        assert table["loss"].tolist() == pytest.approx([0, 0.002, 0.004, 0.008, 0.85])


class TestSparsity:
    def test_every_layer_of_every_run_has_every_measure(self, frames: Frames) -> None:
        assert len(frames["sparsity"]) == 2 * 3 * 3 * 4  # models with layers, runs, layers, measures
        assert set(frames["sparsity"]["measure"]) == {"hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros"}

    def test_a_value_is_that_of_the_weights_in_the_file(self, frames: Frames) -> None:
        where = {"model": "l1-1e-3", "seed": 1, "layer": "fc1"}
        zeros = only(frames["sparsity"], **where, measure="exact_zeros")
        assert (zeros.value, zeros.out_features, zeros.in_features) == (0.5, 120, 400)
        c = np.abs(layers(1, zeros=0.5)["fc1"].astype(np.float64))
        by_hand = (math.sqrt(c.size) - c.sum() / np.linalg.norm(c)) / (math.sqrt(c.size) - 1)
        assert only(frames["sparsity"], **where, measure="hoyer").value == pytest.approx(by_hand)

    def test_an_undefined_value_is_empty_with_its_reason(self, artifacts: Artifacts) -> None:
        broken = layers(0)
        broken["fc1"][0, 0] = np.nan
        broken["fc2"][:] = 0
        write_run(artifacts, "baseline", 0, broken)
        csv = sparsity(study_of(artifacts)).to_csv(index=False)
        assert "baseline,0,fc1,120,400,hoyer,,a weight is not finite,\n" in csv
        assert "baseline,0,fc2,84,120,gini,,all weights are zero,\n" in csv
        assert "baseline,0,fc2,84,120,exact_zeros,1.0,,0.0\n" in csv


class TestSearch:
    def test_trials_come_in_their_order_with_the_best_so_far(self) -> None:
        table = search_tables.trials([search_record("baseline")])
        assert table["best_so_far"].tolist() == [0.12, 0.12, 0.09, 0.09]
        assert table["last_error"].tolist() == pytest.approx([0.12, 0.5, 0.09, math.nan], nan_ok=True)
        assert table["learning_rate"].tolist() == pytest.approx([0.1, 0.3, 0.02, math.nan], nan_ok=True)

    def test_the_most_important_parameter_comes_first(self) -> None:
        table = search_tables.importance([search_record("baseline")])
        assert list(zip(table["parameter"], table["share"], strict=True)) == [
            ("learning_rate_sgd", 0.75),
            ("flip", 0.25),
        ]

    def test_the_best_trial_has_what_was_searched_and_what_mattered(self) -> None:
        rows = search_tables.best(search_record("baseline")).values.tolist()
        assert rows == [
            ["learning_rate", "0.02", "0.01 to 0.3, logarithmic", "0.75"],
            ["flip", "False", "True, False", "0.25"],
        ]

    def test_a_search_without_a_complete_trial_has_no_best_one(self) -> None:
        search = search_record("baseline", best=None, importance=None, trials=search_record("baseline").trials[3:])
        assert search_tables.best(search).empty
        assert search_tables.importance([search]).empty
        assert search_tables.trials([search])["best_so_far"].isna().all()
