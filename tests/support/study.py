"""Made-up studies on disk whose every number is known, small ONNX files, and the analysis command run on them."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from msgspec import structs
from onnx import TensorProto, helper, numpy_helper

from analysis.__main__ import main
from analysis.inputs.files import find
from analysis.inputs.study import Study, read_study
from study.artifacts import HISTORY, PREDICTIONS, Artifacts
from study.bench_file import seal_of
from study.errors import StudyError
from study.files import sha256, write_csv
from study.record_files import as_json, write_record
from study.records.base import Record
from study.records.bench import BenchRecord, CaseRecord, ColdStartRecord, ComparisonRecord, MatrixProduct
from study.records.scenarios import OfflineRecord, ServerRecord
from study.seal import KEY, sealed
from tests.support.records import (
    BENCH_ENVIRONMENT,
    case,
    cold_start,
    comparison,
    export_record,
    pruning_record,
    run_record,
)

PROJECT = Path(__file__).parent.parent.parent
IMAGES = 1000
"""Test images, of two classes in turns; test errors are multiples of 1 / IMAGES."""
BASELINE_ERRORS = (0.080, 0.083, 0.079)
L1_ERRORS = (0.101, 0.102, 0.106)
Weights = dict[str, np.ndarray]


def write_study(artifacts: Artifacts) -> None:
    """Three models of two to three runs, one of them without a fully-connected layer, and their latencies."""
    for seed, (baseline, l1) in enumerate(zip(BASELINE_ERRORS, L1_ERRORS, strict=True)):
        write_run(artifacts, "baseline", seed, layers(seed), test_error=baseline, train_error=0.05)
        write_run(artifacts, "l1-1e-3", seed, layers(seed, zeros=0.25 * (seed + 1)), test_error=l1)
    for seed in range(2):
        write_run(artifacts, "gap", seed, {}, test_error=0.081, parameters=12_502)
    write_bench(
        artifacts,
        [
            case(artifacts, "baseline", "torch", 1, 110e-6),
            case(artifacts, "baseline", "onnxruntime", 1, 20e-6),
            case(artifacts, "baseline", "torch", 32, 900e-6),
            case(artifacts, "gap", "onnxruntime", 1, 30e-6, valid=False, reasons=("1.6 cores <busy> & hot",)),
            case(artifacts, "gap", "torch", 1, 120e-6),
        ],
        [
            comparison(artifacts, "baseline", 1, 5.4, 5.3, 5.6),
            comparison(artifacts, "baseline", 32, 1.001, 0.99, 1.01),
            comparison(artifacts, "gap", 1, 4.1, 3.9, 4.2, verdict="withheld", valid=False, reasons=("hot & <b>",)),
        ],
        [cold_start(artifacts, "baseline", "torch"), cold_start(artifacts, "gap", "onnxruntime", total_seconds=0.05)],
    )


def write_run(
    artifacts: Artifacts,
    model: str,
    seed: int,
    weights: Weights,
    *,
    test_error: float = 0.08,
    train_error: float = 0.05,
    parameters: int = 61_706,
    epochs: int = 3,
    validation: Sequence[float] = (),
    epoch_seconds: Sequence[float] = (3.0,),
    **changes: Any,
) -> None:
    """A finished and exported run, which gets the first images of the test set wrong: `test_error` of IMAGES.

    `validation` are the errors of its epochs on validation images, of which it keeps the best; `epoch_seconds` are
    what its epochs take, in turns; `changes` go into run.json.
    """
    files = artifacts.run(model, seed)
    write_model(files.onnx, weights)
    digest = sha256(files.onnx)
    errors = {"test_error": test_error, "train_error": train_error}
    record = run_record(model, seed, **errors, parameters=parameters, epochs=epochs, validation=validation)
    write_record(files.export, export_record(model, seed, digest, files.onnx.stat().st_size, test_error))
    if weights:
        write_record(files.pruning, pruning_record(model, seed, digest))
    wrong = round(test_error * IMAGES)
    write_predictions(files.predictions, [1] * wrong + [0] * (IMAGES - wrong))
    write_csv(
        files.history,
        HISTORY,
        (
            {"epoch": n, "lr": 0.05, "train_loss": 1 / n, "train_error": train_error + 0.5 / n}
            | {"seconds": epoch_seconds[(n - 1) % len(epoch_seconds)]}
            | ({"validation_loss": 3 * validation[n - 1], "validation_error": validation[n - 1]} if validation else {})
            for n in range(1, record.epochs + 1)
        ),
    )
    write_changed(files.record, record, **changes)
    seal_tables(files.folder)


def seal_tables(folder: Path) -> None:
    """Put the digests of the CSV files of a run, as they are now, into its run.json."""
    digests = {f"{name}_sha256": sha256(folder / f"{name}.csv") for name in ("history", "predictions")}
    edit_json(folder / "run.json", **digests)


def write_predictions(path: Path, wrong: Iterable[int]) -> None:
    """Predictions that are wrong where `wrong` is 1; of a run that is there also their digest."""
    rows = ({"label": i % 2, "predicted": i % 2 ^ w} for i, w in enumerate(wrong))
    write_csv(path, PREDICTIONS, rows)
    if (path.parent / "run.json").exists():
        seal_tables(path.parent)


def write_bench(
    artifacts: Artifacts,
    cases: Sequence[CaseRecord] = (),
    comparisons: Sequence[ComparisonRecord] = (),
    cold_starts: Sequence[ColdStartRecord] = (),
    name: str | Path = "bench.json",
    matrix_products: Sequence[MatrixProduct] = (),
    loads: Sequence[OfflineRecord | ServerRecord] = (),
    **environment: Any,
) -> Path:
    """A benchmark file with these records, among the artifacts unless `name` is a path from the root."""
    session = BenchRecord(
        environment=structs.replace(BENCH_ENVIRONMENT, **environment),
        harness_overhead_seconds=1e-7,
        processes=5,
        pilot=None,
        comparisons=tuple(comparisons),
        cold_starts=tuple(cold_starts),
        cases=tuple(cases),
        matrix_products=tuple(matrix_products),
        offline=tuple(load for load in loads if isinstance(load, OfflineRecord)),
        server=tuple(load for load in loads if isinstance(load, ServerRecord)),
    )
    study = as_json(session)
    content = {"benchmarks": [{"name": "case", "extra_info": info} for info in study.pop("cases")], "study": study}
    path = artifacts.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(resealed(content)))
    return path


def write_changed(path: Path, record: Record, **changes: Any) -> None:
    """Write a record with some keys changed to what a record may not have, or would not let them be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sealed(as_json(record) | msgspec.to_builtins(changes))))


def resealed(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a record or bench.json with the seal that its values have now."""
    values = {key: value for key, value in content.items() if key != KEY}
    return {**values, KEY: seal_of(json.dumps(values))} if "benchmarks" in values else sealed(values)


def edit_json(path: Path, **changes: Any) -> None:
    """Replace top-level values of a JSON file, and its seal."""
    path.write_text(json.dumps(resealed(json.loads(path.read_text()) | msgspec.to_builtins(changes))))


def layers(seed: int, zeros: float = 0.0) -> Weights:
    """Weights of LeNet-5's three fully-connected layers, uniform, this share of the first exactly zero."""
    random = np.random.default_rng(seed)
    shapes = {"fc1": (120, 400), "fc2": (84, 120), "fc3": (10, 84)}
    weights = {name: random.uniform(-0.1, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    weights["fc1"].ravel()[: round(zeros * 48_000)] = 0
    return weights


def write_model(path: Path, weights: Weights) -> None:
    """An ONNX file with one Gemm (transB = 1) for each (out, in) weight, or, without weights, only a convolution."""
    nodes, value = [], "image"
    tensors = [numpy_helper.from_array(weight, f"{name}.weight") for name, weight in weights.items()]
    for name in weights:
        nodes.append(helper.make_node("Gemm", [value, f"{name}.weight"], [f"{name}_out"], transB=1))
        value = f"{name}_out"
    if not weights:
        tensors = [numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "conv.weight")]
        nodes = [helper.make_node("Conv", ["image", "conv.weight"], ["conv_out"])]
        value = "conv_out"
    save_graph(path, nodes, tensors, value)


def save_graph(path: Path, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], output: str = "y") -> None:
    """An ONNX file of opset 18 and IR version 8 with these nodes and initializers; its input is called `image`."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, None)
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "network", [image], [result], tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def study_of(artifacts: Artifacts, *models: str) -> Study:
    """The study of these models, or of the baseline, as it is read."""
    return read_study(find(artifacts, models or ("baseline",)))


def refusal(artifacts: Artifacts) -> str:
    """The one line with which the artifacts are refused."""
    with pytest.raises(StudyError) as error:
        study_of(artifacts)
    message = str(error.value)
    assert "\n" not in message
    assert str(artifacts.root) in message
    return message


def analyse(root: Path, *words: str) -> tuple[str, str]:
    """Run the command in this process; gives its standard output and standard error."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        assert main(["--artifacts", str(root), *words]) == 0
    return output.getvalue(), errors.getvalue()


def command(
    root: Path, *words: str, python: tuple[str, ...] = ("-m", "analysis")
) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own."""
    line = [sys.executable, *python, "--artifacts", str(root), *words]
    return subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)


def rows(root: Path, name: str, report: str = "report") -> list[dict[str, str]]:
    with (root / report / name).open(newline="") as file:
        return list(csv.DictReader(file))


def only(frame: pd.DataFrame, **where: Any) -> Any:
    """The one row of a frame with these values, its cells being attributes."""
    for key, value in where.items():
        frame = frame[frame[key] == value]
    (found,) = frame.itertuples(index=False)
    return found


def row(root: Path, name: str, **where: Any) -> dict[str, str]:
    """The one row with these values."""
    (found,) = [r for r in rows(root, name) if all(r[key] == str(value) for key, value in where.items())]
    return found
