"""Artifacts as the earlier stages would leave them, small and made up: records that fit their schemas, ONNX files."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from study.artifacts import HISTORY, PREDICTIONS, Artifacts, sha256, write_csv, write_json
from study.catalogue import entry

ENVIRONMENT: dict[str, Any] = {
    "cpu": "Imagined(R) CPU & Co <1_000>",
    "cores": 2,
    "memory_bytes": 8 * 2**30,
    "system": "Linux",
    "python": "3.11.0",
    "packages": {"torch": "2.13.0", "onnxruntime": "1.31.1"},
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
}
CHECKPOINT = "c" * 64
IMAGES = 1000
"""Test images, of two classes in turns; test errors are multiples of 1 / IMAGES."""


def write_model(path: Path, weights: dict[str, np.ndarray]) -> None:
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


def write_run(
    artifacts: Artifacts,
    model: str,
    seed: int,
    weights: dict[str, np.ndarray],
    *,
    test_error: float = 0.08,
    train_error: float = 0.05,
    parameters: int = 61_706,
    epochs: int = 3,
) -> None:
    """A finished and exported run, which gets the first images of the test set wrong: `test_error` of IMAGES."""
    files = artifacts.run(model, seed)
    write_model(files.onnx, weights)
    record = {
        "schema": "run/1",
        "model": model,
        "seed": seed,
        "network": entry(model).network,
        "network_sha256": "e" * 64,
        "parameters": parameters,
        "train_error": train_error,
        "test_error": test_error,
        "train_loss": 0.15,
        "test_loss": 0.23,
        "penalty": 0.0,
        "learning_rate_sum": 300.0,
        "penalty_strength": 0.0,
        "epochs": epochs,
        "seconds": 100.0,
        "images_per_second": 18000.0,
        "recipe": asdict(entry(model).recipe),
        "dataset": {"name": "synthetic", "classes": ["a", "b"], "mean": 0.28, "std": 0.35, "files": {}},
        "environment": ENVIRONMENT,
        "checkpoint_sha256": CHECKPOINT,
    }
    write_json(files.record, record)
    write_json(
        files.export,
        {
            "schema": "export/1",
            "model": model,
            "seed": seed,
            "onnx_sha256": sha256(files.onnx),
            "checkpoint_sha256": CHECKPOINT,
            "opset": 18,
            "ir_version": 8,
            "bytes": files.onnx.stat().st_size,
            "parity": {"images": 10_000, "max_abs_difference": 2e-7, "argmax_mismatches": 0},
            "test_error_onnxruntime": test_error,
            "environment": ENVIRONMENT,
        },
    )
    wrong = round(test_error * IMAGES)
    write_predictions(files.predictions, [1] * wrong + [0] * (IMAGES - wrong))
    write_csv(
        files.history,
        HISTORY,
        (
            {"epoch": n, "lr": 0.05, "train_loss": 1 / n, "train_error": train_error + 0.5 / n, "seconds": 3.0}
            for n in range(1, epochs + 1)
        ),
    )


def write_predictions(path: Path, wrong: Iterable[int]) -> None:
    """Predictions that are wrong where `wrong` is 1."""
    rows = ({"label": i % 2, "predicted": i % 2 ^ w} for i, w in enumerate(wrong))
    write_csv(path, PREDICTIONS, rows)


def case(
    artifacts: Artifacts, model: str, runtime: str, batch: int, median_seconds: float, **changes: Any
) -> dict[str, Any]:
    """The `extra_info` of one benchmark case of the model's run with seed 0."""
    onnx_file = artifacts.run(model, 0).onnx
    tails = {f"p{p}_{part}seconds": None for p in (95, 99) for part in ("", "low_", "high_")}
    return {
        "model": model,
        "seed": 0,
        "runtime": runtime,
        "batch": batch,
        "threads": 1,
        "mode": "native",
        "onnx_sha256": sha256(onnx_file) if onnx_file.is_file() else "0" * 64,
        "onnx_bytes": 1000,
        "samples": 100,
        "median_seconds": median_seconds,
        "median_low_seconds": median_seconds * 0.98,
        "median_high_seconds": median_seconds * 1.03,
        "p90_seconds": median_seconds * 1.2,
        "p90_low_seconds": median_seconds * 1.1,
        "p90_high_seconds": median_seconds * 1.3,
        **tails,
        "images_per_second": batch / median_seconds,
        "parity": {"images": 256, "max_abs_difference": 1e-7, "argmax_mismatches": 0},
        "threads_read_back": 1,
        "cores_used": 1.0,
        "warmup": {"calls": 50, "seconds": 0.1, "stable": True},
        "quick": False,
        "valid": True,
        "reasons": [],
        **changes,
    }


def write_bench(artifacts: Artifacts, cases: list[dict[str, Any]]) -> None:
    """A benchmark file with these cases."""
    study = {"schema": "bench/1", "environment": ENVIRONMENT, "harness_overhead_seconds": 1e-7}
    content = {"study": study, "benchmarks": [{"name": "case", "extra_info": info} for info in cases]}
    artifacts.bench.parent.mkdir(parents=True, exist_ok=True)
    artifacts.bench.write_text(json.dumps(content))


def layers(seed: int, zeros: float = 0.0) -> dict[str, np.ndarray]:
    """Weights of LeNet-5's three fully-connected layers, uniform, this share of the first exactly zero."""
    random = np.random.default_rng(seed)
    shapes = {"fc1": (120, 400), "fc2": (84, 120), "fc3": (10, 84)}
    weights = {name: random.uniform(-0.1, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    weights["fc1"].ravel()[: round(zeros * 48_000)] = 0
    return weights


def edit_json(path: Path, **changes: Any) -> None:
    """Replace top-level values of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
