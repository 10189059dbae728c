"""Artifacts as the earlier stages would leave them, small and made up: records that fit their schemas, ONNX files."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from msgspec import structs
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
BENCH_ENVIRONMENT: dict[str, Any] = {
    **ENVIRONMENT,
    "cpu_flags": ["avx2", "fma"],
    "affinity": [0, 1],
    "quota_cores": None,
    "governor": "performance",
    "turbo": False,
    "thread_variables": {},
    "load_before": 0.1,
    "load_after": 0.9,
    "files_sha256": {},
    "gpu": None,
}
QUIET: dict[str, Any] = {
    "other_cores": 0.01,
    "steal_share": 0.0,
    "involuntary_switches_per_second": 1.5,
    "load_before": 0.5,
    "load_after": None,
    "clock_disagreement": 1e-5,
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
    validation: Sequence[float] = (),
    epoch_seconds: Sequence[float] = (3.0,),
    **changes: Any,
) -> None:
    """A finished and exported run, which gets the first images of the test set wrong: `test_error` of IMAGES.

    `validation` are the errors of its epochs on validation images, of which it keeps the best; `epoch_seconds` are
    what its epochs take, in turns; `changes` go into run.json.
    """
    epochs = len(validation) or epochs
    kept = 1 + min(range(epochs), key=lambda epoch: validation[epoch]) if validation else epochs
    last = {"validation_error": validation[kept - 1], "validation_loss": 3 * validation[kept - 1]} if validation else {}
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
        "recipe": structs.asdict(entry(model).recipe),
        "dataset": {"name": "Fashion-MNIST", "classes": ["a", "b"], "mean": 0.28, "std": 0.35, "files": {}},
        "environment": ENVIRONMENT,
        "checkpoint_sha256": CHECKPOINT,
        **({"kept_epoch": kept, **last} if validation else {}),
        **changes,
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
    if weights:
        write_json(files.pruning, pruning_record(model, seed, sha256(files.onnx)))
    wrong = round(test_error * IMAGES)
    write_predictions(files.predictions, [1] * wrong + [0] * (IMAGES - wrong))
    write_csv(
        files.history,
        HISTORY,
        (
            {"epoch": n, "lr": 0.05, "train_loss": 1 / n, "train_error": train_error + 0.5 / n}
            | {"seconds": epoch_seconds[(n - 1) % len(epoch_seconds)]}
            | ({"validation_loss": 3 * validation[n - 1], "validation_error": validation[n - 1]} if validation else {})
            for n in range(1, epochs + 1)
        ),
    )


def pruning_record(model: str, seed: int, onnx_sha256: str) -> dict[str, Any]:
    """60 % of the weights can be cut (70 % with seed 1), for 0.4 points on 20,000 images and 0.3 in the test."""
    share = 0.7 if seed == 1 else 0.6
    errors = {0.0: 0.05, 0.5: 0.052, share: 0.054, round(share + 0.05, 2): 0.058, 1.0: 0.9}
    curve = [{"share": share, "threshold": share / 10, "error": error} for share, error in errors.items()]
    return {
        "schema": "pruning/1",
        "model": model,
        "seed": seed,
        "onnx_sha256": onnx_sha256,
        "loss_allowed": 0.005,
        "images": {"part": "train", "first": 40_000, "count": 20_000},
        "weights": 58_920,
        "uncut_error": 0.05,
        "curve": curve,
        "cut": curve[2],
        "test": {"images": 10_000, "error": 0.083, "uncut_error": 0.08},
        "environment": ENVIRONMENT,
    }


def search_record(model: str, **changes: Any) -> dict[str, Any]:
    """A search.json with four trials: the model's own recipe, one that was pruned, the best, and one that failed.

    The best one's recipe has the learning rate 0.02.
    """
    states: list[dict[str, Any]] = [
        {
            "state": "complete",
            "validation_errors": [0.3, 0.12],
            "own": True,
            "values": {"learning_rate": 0.1, "flip": True},
        },
        {
            "state": "pruned",
            "validation_errors": [0.5],
            "reason": "behind",
            "values": {"learning_rate": 0.3, "flip": True},
        },
        {"state": "complete", "validation_errors": [0.2, 0.09], "values": {"learning_rate": 0.02, "flip": False}},
        {"state": "failed", "validation_errors": [], "reason": "its process ended", "values": {}},
    ]
    trials = [
        {
            **{"number": number, "own": False, "repeats": None, "seconds": 12.5, "reason": None},
            **{"epochs": len(state["validation_errors"]), **state},
            "validation_error": state["validation_errors"][-1] if state["state"] == "complete" else None,
        }
        for number, state in enumerate(states)
    ]
    recipe = structs.replace(entry(model).recipe, learning_rate=0.02, flip=False, validation=0, patience=0)
    shares = {"flip": 0.25, "learning_rate_sgd": 0.75}
    return {
        "schema": "search/1",
        "model": model,
        "network": entry(model).network,
        "network_sha256": "e" * 64,
        "dataset": entry(model).dataset,
        "images": {"training": 40_000, "validation": 20_000},
        "trial_epochs": 2,
        "trial_seed": 0,
        "space": {"learning_rate_sgd": {"low": 0.01, "high": 0.3, "log": True}, "flip": {"choices": [True, False]}},
        "finished": 3,
        "trials": trials,
        "best": {"number": 2, "validation_error": 0.09, "recipe": structs.asdict(recipe)},
        "importance": {"evaluator": "PED-ANOVA", "best_share": 0.25, "epoch": 1, "trials": 40, "shares": shares},
        "seeds": [0, 1, 2],
        "environment": ENVIRONMENT,
        **changes,
    }


def write_predictions(path: Path, wrong: Iterable[int]) -> None:
    """Predictions that are wrong where `wrong` is 1."""
    rows = ({"label": i % 2, "predicted": i % 2 ^ w} for i, w in enumerate(wrong))
    write_csv(path, PREDICTIONS, rows)


def _subject(artifacts: Artifacts, model: str, **keys: Any) -> dict[str, Any]:
    """What says of a measurement whose it is: the model's run with seed 0, one thread, on the CPU."""
    onnx_file = artifacts.run(model, 0).onnx
    digest = sha256(onnx_file) if onnx_file.is_file() else "0" * 64
    return {"model": model, "seed": 0, "onnx_sha256": digest, "threads": 1, "device": "cpu", "quick": False, **keys}


def case(
    artifacts: Artifacts, model: str, runtime: str, batch: int, median_seconds: float, **changes: Any
) -> dict[str, Any]:
    """The `extra_info` of one benchmark case; its median lies in an interval from 0.98 to 1.03 times itself."""
    interval = {"median_low_seconds": median_seconds * 0.98, "median_high_seconds": median_seconds * 1.03}
    return {
        **_subject(artifacts, model, runtime=runtime, batch=batch, mode="native"),
        "onnx_bytes": 250_880,
        "parameters": 61_706,
        "macs": 416_520,
        "subnormal_weights": 0,
        "inputs_sha256": "a" * 64,
        "input_seed": None,
        "input_shapes": {"image": [batch, 1, 28, 28]},
        "samples": 100,
        "median_seconds": median_seconds,
        **interval,
        "p90_seconds": median_seconds * 1.2,
        "p90_low_seconds": median_seconds * 1.1,
        "p90_high_seconds": median_seconds * 1.3,
        **{f"{p}_{part}seconds": None for p in ("p95", "p99", "p999") for part in ("", "low_", "high_")},
        "images_per_second": batch / median_seconds,
        "parity": {"images": 256, "max_abs_difference": 1e-7, "argmax_mismatches": 0, "against": "torch"},
        "threads_read_back": 1,
        "settings": {"graph": "all"},
        "cores_used": 1.0,
        "drift": 0.002,
        "spread": 0.01,
        "machine": QUIET,
        "yardstick_seconds": 2e-4,
        "load_medians_seconds": [median_seconds * factor for factor in (0.99, 0.995, 1.0, 1.005, 1.01)],
        "warmup": {"calls": 50, "seconds": 0.1, "stable": True},
        "processes": [{"median_seconds": median_seconds, **interval, "valid": True}],
        "between_spread": None,
        "valid": True,
        "reasons": [],
        **changes,
    }


def comparison(
    artifacts: Artifacts, model: str, batch: int, ratio: float, low: float, high: float, **changes: Any
) -> dict[str, Any]:
    """ONNX Runtime against torch, in two processes that agree; the noise floor is 0.4 %."""
    one = {"ratio": ratio, "low": low, "high": high}
    control = {"ratio": 1.001, "low": 0.998, "high": 1.004}
    return {
        **_subject(artifacts, model, runtime="onnxruntime", batch=batch, mode="native"),
        "reference": "torch",
        "rounds": 20,
        "blocks": 200,
        "calls": 4000,
        "random_seed": 7,
        "settings": {"reference": {"threads": 1}, "runtime": {"threads": 1}},
        **one,
        "controls": {"reference": control, "runtime": control},
        "noise_floor": 0.004,
        "processes": [{**one, "noise_floor": 0.004}] * 2,
        "between_spread": 0.006,
        "verdict": "faster" if low > 1.004 else "slower" if high < 0.996 else "no difference shown",
        "cores_used": 1.0,
        "machine": QUIET,
        "valid": True,
        "reasons": [],
        **changes,
    }


def cold_start(
    artifacts: Artifacts, model: str, runtime: str, *, total_seconds: float = 0.5, **changes: Any
) -> dict[str, Any]:
    """Five fresh processes: 80 % of the time and 32 of 64 MiB are the import's; ranges are -10 to +20 %."""

    def spread(median: float) -> dict[str, float]:
        return {"median": median, "lowest": median * 0.9, "highest": median * 1.2}

    shares = {"import": 0.8, "load": 0.15, "first_call": 0.05, "total": 1.0}
    mib = {"import": 32, "load": 24, "run": 8, "peak": 64}
    return {
        **_subject(artifacts, model, runtime=runtime, batch=1),
        "processes": 5,
        **{f"{step}_seconds": spread(total_seconds * share) for step, share in shares.items()},
        **{f"{step}_bytes": spread(n * 2**20) for step, n in mib.items()},
        "machine": QUIET,
        "valid": True,
        "reasons": [],
        **changes,
    }


def write_bench(
    artifacts: Artifacts,
    cases: Sequence[dict[str, Any]] = (),
    comparisons: Sequence[dict[str, Any]] = (),
    cold_starts: Sequence[dict[str, Any]] = (),
    name: str | Path = "bench.json",
    **environment: Any,
) -> Path:
    """A benchmark file with these records, among the artifacts unless `name` is a path from the root."""
    study = {
        "schema": "bench/2",
        "environment": {**BENCH_ENVIRONMENT, **environment},
        "harness_overhead_seconds": 1e-7,
        "processes": 1,
        "comparisons": list(comparisons),
        "cold_starts": list(cold_starts),
    }
    content = {"study": study, "benchmarks": [{"name": "case", "extra_info": info} for info in cases]}
    path = artifacts.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


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
