"""The tables of what training has left: a row a run, and a row an epoch of a run."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from msgspec.structs import asdict

from analysis.inputs.runs import Run
from analysis.inputs.study import Study
from analysis.tables.columns import MODEL, Column, frame, plain
from analysis.weights.layers import Layer

SEED = Column("seed", heading="seed")
RUNS = (
    MODEL,
    SEED,
    Column("parameters", "trainable numbers"),
    Column("train_error", "fraction of the images trained on", "train error, %", ".2f", 100),
    Column("test_error", "fraction of the test images", "test error, %", ".2f", 100),
    Column("train_loss", "cross-entropy", "train loss", ".4f"),
    Column("test_loss", "cross-entropy", "test loss", ".4f"),
    Column("penalty", "of the recipe, in none of the losses", "penalty", ".4f"),
    *plain("penalty_strength", "learning_rate_sum"),
    Column("epochs", heading="epochs"),
    Column("seconds", "of all epochs", "seconds", ",.0f"),
    Column("images_per_second", heading="images/s", form=",.0f"),
    Column("onnx_bytes", heading="ONNX, KiB", form=",.1f", scale=1 / 1024),
    Column("parity_images", "on which ONNX Runtime is compared with torch"),
    Column("parity_max_abs_difference", "of two probabilities", "largest difference", ".1e"),
    Column("parity_argmax_mismatches", "images of another class"),
    Column("test_error_onnxruntime", "of the ONNX file", "test error in ONNX Runtime, %", ".2f", 100),
    Column("fc_layers", "fully-connected layers"),
    Column("fc_weights", "their weights"),
    Column("fc_exact_zeros", "fraction of them that is exactly zero", "exact zeros, %", ".1f", 100),
    Column("fc_cut", "largest fraction of them that can be pruned", "prunable, %", ".0f", 100),
    Column("fc_cut_loss", "what that adds to the error on the training images that it was chosen on"),
    Column("fc_cut_test_loss", "and on the test images", "then lost in the test, points", "+.2f", 100),
)
CONVERGENCE = (
    MODEL,
    SEED,
    *plain("epoch", "lr", "train_loss", "train_error", "validation_loss", "validation_error", "seconds"),
)
HISTORY = (
    MODEL,
    SEED,
    *plain("epoch", "train_loss"),
    Column("train_accuracy", "a fraction"),
    Column("validation_loss"),
    Column("validation_accuracy", "a fraction"),
    Column("kept", "True for the epoch whose weights the run kept"),
)


def runs(study: Study) -> pd.DataFrame:
    """One row a run. Errors are fractions; `fc_exact_zeros` is the share over all FC weights, empty without any.

    `fc_cut` is the share of them that can be cut, `fc_cut_loss` and `fc_cut_test_loss` are what that adds to the error
    on the images it was chosen on and on the test images; empty where it was not measured.
    """
    return frame(RUNS, (_run(run) for run in study.runs))


def fully_connected(layers: Sequence[Layer]) -> dict[str, object]:
    """The number of weights of these layers, and the fraction of them that is exactly zero; None without any."""
    weights = sum(layer.weight.size for layer in layers)
    zeros = sum(int(np.count_nonzero(block == 0)) for layer in layers for block in layer.weight.blocks())
    return {"fc_weights": weights, "fc_exact_zeros_mean": zeros / weights if weights else None}


def _run(run: Run) -> dict[str, object]:
    of_layers = fully_connected(run.layers)
    row: dict[str, object] = {
        **asdict(run.record),
        "fc_layers": len(run.layers),
        "fc_weights": of_layers["fc_weights"],
        "fc_exact_zeros": of_layers["fc_exact_zeros_mean"],
    }
    if run.export:
        row |= {f"parity_{key}": value for key, value in asdict(run.export.parity).items()}
        row |= {"onnx_bytes": run.export.bytes, "test_error_onnxruntime": run.export.test_error_onnxruntime}
    if run.pruning:
        cut, test = run.pruning.cut, run.pruning.test
        row |= {"fc_cut": cut.share, "fc_cut_loss": cut.error - run.pruning.uncut_error}
        row |= {"fc_cut_test_loss": test.error - test.uncut_error}
    return row


def convergence(study: Study) -> pd.DataFrame:
    """One row an epoch of a run: history.csv of all runs."""
    rows = [{"model": run.model, "seed": run.seed, **asdict(epoch)} for run in study.runs for epoch in run.history]
    return frame(CONVERGENCE, rows)


def history(runs: Iterable[Run]) -> pd.DataFrame:
    """One row an epoch of a run."""
    rows = [
        {
            "model": run.model,
            "seed": run.seed,
            **asdict(epoch),
            "train_accuracy": 1 - epoch.train_error,
            "validation_accuracy": None if epoch.validation_error is None else 1 - epoch.validation_error,
            "kept": epoch.epoch == run.kept_epoch,
        }
        for run in runs
        for epoch in run.history
    ]
    return frame(HISTORY, rows)
