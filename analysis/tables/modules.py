"""The tables of torch modules that are not trained here: where each comes from, and the proof of each output."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.inputs.modules import Module
from analysis.inputs.study import Study
from analysis.tables.columns import MODEL, Column, frame
from study.records.module import ModuleRecord, OutputParity

MIB = 2.0**-20


def _shape(row: Any) -> str:
    return "scalar" if pd.isna(row.shape) else f"[{row.shape}]"


MODULES = (
    MODEL,
    Column("factory", "the callable that makes it, of a file without its folder", "module"),
    Column("arguments", "of the callable, JSON", "arguments"),
    Column("inputs", "in words, with commas between them", "inputs"),
    Column("sizes", "of the named dimensions", "sizes"),
    Column("weights", "their file, `random, seed N`, or `of the callable`, which draws none", "weights"),
    Column("parameters", "trainable numbers of the torch module", "trainable", ",d"),
    Column("weight_bytes", "of parameters and buffers in torch", "in torch, MiB", ",.2f", MIB),
    Column("onnx_bytes", "of the file, with the weights that lie beside it", "ONNX, MiB", ",.2f", MIB),
    Column("portable", "whether the graph was edited for other runtimes, see docs/portability.md"),
    Column("opset", heading="opset"),
    Column("fc_layers", "fully-connected layers in the ONNX file", "FC layers"),
    Column("outputs", heading="outputs"),
    Column("onnx_sha256"),
)
PARITY = (
    MODEL,
    Column("output", "its name in the ONNX file", "output"),
    Column("dtype", heading="type"),
    Column("shape", "with commas; the names of its free dimensions", "shape", cell=_shape),
    Column("values", "compared, over all seeded inputs and batches", "values", ",d"),
    Column("max_abs_difference", "of integers and booleans the share that differs", "largest difference", ".1e"),
    Column("max_rel_difference", "the same / the largest magnitude of its array", "relative", ".1e"),
    Column("limit_abs", "it holds within `limit_abs` + `limit_rel` * the largest magnitude", "limit", ".1e"),
    Column("limit_rel", "see `limit_abs`", "relative limit", ".1e"),
)


def modules(study: Study) -> pd.DataFrame:
    """One row a module."""
    return frame(MODULES, map(_module, study.modules))


def _module(module: Module) -> dict[str, object]:
    record = module.record
    return {
        **{key: getattr(record, key) for key in ("parameters", "weight_bytes", "portable", "opset", "onnx_sha256")},
        "model": module.model,
        "factory": Path(record.factory).name,
        "arguments": record.arguments or None,
        "inputs": ", ".join(record.inputs),
        "sizes": ", ".join(f"{name}={size}" for name, size in record.sizes.items()) or None,
        "weights": _weights(record),
        "onnx_bytes": record.bytes,
        "fc_layers": len(module.layers),
        "outputs": len(record.parity),
    }


def _weights(record: ModuleRecord) -> str:
    if record.weights:
        return Path(record.weights).name
    return f"random, seed {record.seed}" if record.random else "of the callable"


def parity(study: Study) -> pd.DataFrame:
    """One row an output of a module."""
    outputs = ((module.model, output) for module in study.modules for output in module.record.parity)
    return frame(PARITY, (_output(model, output) for model, output in outputs))


def _output(model: str, output: OutputParity) -> dict[str, object]:
    keys = ("dtype", "values", "max_abs_difference", "max_rel_difference", "limit_abs", "limit_rel")
    shape = ",".join(map(str, output.shape)) or None
    return {"model": model, "output": output.name, "shape": shape, **{key: getattr(output, key) for key in keys}}
