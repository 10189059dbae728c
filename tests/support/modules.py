"""Made-up exports of torch modules on disk, as `python -m export --module` would write them."""

from pathlib import Path
from typing import Any, TypeVar

from msgspec import structs

from study.artifacts import Artifacts
from study.files import sha256
from study.modules.files import ModuleFiles, module_files
from study.record_files import write_record
from study.records.bench import Measurement
from study.records.module import ModuleRecord, OutputParity
from tests.support.records import ENVIRONMENT, case, cold_start, comparison
from tests.support.study import Weights, layers, write_bench, write_model

M = TypeVar("M", bound=Measurement)
LOGITS = OutputParity(
    name="logits",
    dtype="float32",
    shape=("batch", 10),
    values=200,
    max_abs_difference=3e-7,
    max_rel_difference=2e-7,
    limit_abs=1e-6,
    limit_rel=1e-3,
)
BEST = structs.replace(LOGITS, name="best", dtype="int64", shape=("batch",), values=20, max_abs_difference=0.0)


def write_module(artifacts: Artifacts, name: str, matrices: Weights, **changes: Any) -> ModuleFiles:
    """A module with these fully-connected layers, whose weights are random unless `changes` say so."""
    files = module_files(artifacts, name)
    write_model(files.onnx, matrices)
    record = ModuleRecord(
        name=name,
        factory=f"models.py:{name}",
        import_folder=None,
        arguments="",
        inputs=("image=float32[batch,1,28,28]",),
        sizes={},
        fixed={},
        by_position=False,
        weights=None,
        weights_sha256=None,
        seed=0,
        random=("fc.weight",),
        sources={"models.py": "d" * 64},
        packages={},
        tolerance=None,
        parameters=61_706,
        weight_bytes=246_824,
        onnx_sha256=sha256(files.onnx),
        data_sha256=None,
        bytes=files.onnx.stat().st_size,
        portable=True,
        opset=18,
        ir_version=10,
        batches=(1, 2, 7),
        input_seed=0,
        parity=(LOGITS,),
        notes=("its weights are random",),
        environment=ENVIRONMENT,
    )
    write_record(files.record, structs.replace(record, **changes))
    return files


def of_module(files: ModuleFiles, record: M) -> M:
    """The measurement as one of this module's file."""
    key = structs.replace(record.key, model=files.name, seed=None, onnx_sha256=sha256(files.onnx))
    return structs.replace(record, key=key)


def write_modules(artifacts: Artifacts, name: str = "modules.json") -> Path:
    """A perceptron with random weights, and a pruned one with two outputs; and the file of their measurements."""
    first = write_module(artifacts, "plain", layers(0))
    second = write_module(
        artifacts,
        "pruned",
        layers(1, zeros=0.5),
        seed=None,
        random=(),
        weights="pruned.pt",
        weights_sha256="a" * 64,
        notes=(),
        parameters=30_000,
        arguments='{"width": 8}',
        inputs=("ids=int64[batch,sequence]:0..49", "mask=bool[batch,sequence]"),
        sizes={"sequence": 16},
        parity=(LOGITS, BEST),
    )
    cases, pairs, starts = [], [], []
    for files, slow in ((first, 110e-6), (second, 220e-6)):
        cases += [of_module(files, case(artifacts, files.name, "torch", 1, slow))]
        cases += [of_module(files, case(artifacts, files.name, "onnxruntime", 1, slow / 5))]
        pairs += [of_module(files, comparison(artifacts, files.name, 1, 5.0, 4.9, 5.1))]
        starts += [of_module(files, cold_start(artifacts, files.name, "torch"))]
    return write_bench(artifacts, cases, pairs, starts, name=name)
