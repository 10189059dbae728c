"""The table of cold starts: the first inference in fresh processes, in seconds and bytes."""

import pandas as pd
from msgspec.structs import asdict

from analysis.inputs.benchmarks import Measurements
from analysis.tables.columns import BATCH, DEVICE, MODEL, RUNTIME, SEED, THREADS, VALID, Column, ends, frame
from analysis.tables.latency import WHENCE, cells

MIB = 2.0**-20


def _range(key: str, heading: str, form: str, scale: float) -> tuple[Column, ...]:
    """Of a step of a cold start, over its processes."""
    bounds = f"{key}_lowest", f"{key}_highest"
    return Column(key, "median of the processes", heading, form, scale, bounds=bounds), *ends(*bounds, "range")


COLD_STARTS = (
    MODEL,
    SEED,
    RUNTIME,
    BATCH,
    THREADS,
    DEVICE,
    Column("processes", "fresh ones", "processes"),
    *_range("import_seconds", "import, ms", ",.0f", 1e3),
    *_range("load_seconds", "load, ms", ",.1f", 1e3),
    *_range("first_call_seconds", "first call, ms", ",.1f", 1e3),
    *_range("total_seconds", "all, ms", ",.0f", 1e3),
    *_range("import_bytes", "import, MiB", ",.1f", MIB),
    *_range("load_bytes", "load, MiB", ",.1f", MIB),
    *_range("run_bytes", "calls, MiB", ",.1f", MIB),
    *_range("peak_bytes", "all, MiB", ",.1f", MIB),
    Column("onnx_bytes", "empty without a case of that ONNX file", "ONNX, KiB", ",.1f", 1 / 1024, whole=True),
    Column("parameters", "likewise", "parameters", ",d", whole=True),
    Column("macs", "likewise; of one item", "MACs", ",d", whole=True),
    Column("quick", "measured with --quick"),
    VALID,
    Column("reasons", "why it is not valid"),
    *WHENCE,
)


def cold_starts(measured: Measurements) -> pd.DataFrame:
    """One row a cold start: medians, and the lowest and highest, of fresh processes, in seconds and bytes.

    The size of the model is there where a case of the same ONNX file was measured.
    """
    models = {case.key.onnx_sha256: case.record for case in measured.cases}
    rows = []
    for start in measured.cold_starts:
        model = models.get(start.key.onnx_sha256)
        size = {key: getattr(model, key, None) for key in ("onnx_bytes", "parameters", "macs")}
        rows.append({**cells(start), **asdict(start.record.machine), **size})
    return frame(COLD_STARTS, rows)
