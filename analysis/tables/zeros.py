"""What the zeros of a model are worth: what skipping them could save, and what each way to use them does save.

The bounds are of arithmetic alone. `fc_bound` is the number of fully-connected weights over that of the nonzero ones,
`network_bound` the multiply-accumulates of the whole network over those with a nonzero weight: an engine that left out
every zero, and took no time for anything else, would be as many times as fast. Ratios of times are from `bench ab`, or
else of the medians in one file of measurements, as for the variants of an export.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from analysis.inputs.forms import DENSE, Form, Subject
from analysis.measures.information import int8_bits, value_bits
from analysis.measures.layer import weight_statistics
from analysis.measures.ranks import Undefined
from analysis.measures.sparsity import evaluate, parse
from analysis.measures.spectrum import ranks
from analysis.measures.storage import zstd_bytes
from analysis.tables.columns import MODEL, Column, ends, frame, plain, text
from analysis.tables.exports import in_turns
from analysis.tables.headline import WITHHELD
from analysis.tables.numbers import MISSING, TIMES, interval, number
from analysis.weights.layers import Layer, read
from analysis.weights.work import work
from study.errors import StudyError
from study.records.ab import AbRecord

CSR = "torch-sparse"
"""The row of PyTorch with its linear layers in compressed rows, which has no file of its own."""


def _times(row: Any) -> str:
    if row.form == DENSE:
        return "1"
    return MISSING if row.latency_verdict == WITHHELD else interval(row.ratio, row.ratio_low, row.ratio_high, ".2f")


def _name(row: Any) -> str:
    return f"{row.form} (against dense torch)" if row.form == CSR else str(row.form)


ZEROS = (
    MODEL,
    Column("seed", "of the first run; empty for a file or a module", whole=True),
    Column(
        "form", "dense: the standard file; a variant of it; torch-sparse: dense in PyTorch, CSR", "form", cell=_name
    ),
    Column("units_removed", "dead units that are not in it", "units removed", ",d", whole=True),
    Column("fc_weights", "of its fully-connected layers, tied ones once", "FC weights", ",d", whole=True),
    Column(
        "exact_zeros",
        "share of them that is exactly zero; of a quantised one, at the zero point",
        "zeros, %",
        ".1f",
        100,
    ),
    Column("fc_bound", "`fc_weights` / those that are not zero", f"FC bound, {TIMES}", ".2f"),
    Column("macs", "multiply-accumulates of the network for one item; empty where not certain", whole=True),
    Column("nonzero_macs", "those of them with a weight that is not zero", whole=True),
    Column("network_bound", "`macs` / `nonzero_macs`", f"network bound, {TIMES}", ".2f"),
    Column("ratio", "time / time of the dense one, one image, one thread", f"time {TIMES} dense", cell=_times),
    *ends("ratio_low", "ratio_high"),
    Column("in_turns", "True where the ratio is from `bench ab`, False where it is that of the medians"),
    Column(
        "latency_verdict", "slower, faster, undecided, the same; withheld where invalid; empty: not measured", "speed"
    ),
    Column("bytes", "of the file, with those that its weights lie in", "KiB", ",.1f", 1 / 1024),
    Column(
        "zstd_bytes",
        "compressed with Zstandard, level 3; empty without the package zstandard",
        "zstd, KiB",
        ",.1f",
        1 / 1024,
    ),
    Column("nonzero_bytes", "nonzero FC weights as stored, and one bit for the place of each weight"),
    Column("value_bits", "entropy over distinct values, bits per FC weight", "entropy, bits", ".2f"),
    Column("int8_bits", "entropy after symmetric int8 quantisation, bits per FC weight", "int8 entropy, bits", ".2f"),
    Column("onnx_sha256"),
)
RANKS = (
    *plain("model", "seed", "layer", "out_features", "in_features"),
    Column("exact_zeros", "share of its weights"),
    Column("dead_rows", "outputs whose weights are all zero", whole=True),
    Column("dead_columns", "inputs whose weights are all zero", whole=True),
    Column("zeros_in_dead", "share of its zeros that lie in such rows and columns"),
    Column("value_bits", "entropy over its distinct values, bits per weight"),
    Column("int8_bits", "entropy after symmetric int8 quantisation, bits per weight"),
    Column("stable_rank", "||W||_F^2 / ||W||_2^2"),
    Column("effective_rank", "exp of the entropy of its singular values / their sum"),
    Column("rank", "singular values above float32's precision", whole=True),
    Column("reason", "why a rank is missing"),
)


def zeros(
    subjects: Iterable[Subject],
    paired: Sequence[AbRecord],
    medians: Mapping[str, Mapping[str, Any]] | None = None,
    pairs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row a form of each subject, the dense one first.

    Args:
        paired: the comparisons of `bench ab`.
        medians: by the SHA-256 of a file, the columns of its ratio in the table of variants.
        pairs: the table of the comparisons of `pytest bench`, for PyTorch with compressed rows.
    """
    rows: list[dict[str, object]] = []
    for subject in subjects:
        dense = subject.forms[0]
        for form in subject.forms:
            row: dict[str, object] = {"model": subject.model, "seed": subject.seed, **_file(form)}
            with suppress(StudyError):  # of a form that has no readable layers only the size is known
                row |= _weights(form)
            if form is not dense:
                row |= (medians or {}).get(form.onnx_sha256, {})
                row |= in_turns(paired, dense.onnx_sha256, form.onnx_sha256)
            rows.append(row)
        sparse = in_turns(paired, dense.onnx_sha256, dense.onnx_sha256, ("torch", CSR))
        if not sparse and pairs is not None:
            sparse = _of_pairs(pairs[pairs["model"] == subject.model])
        if sparse:
            rows.append({"model": subject.model, "seed": subject.seed, "form": CSR, **sparse})
    return frame(ZEROS, rows)


def _of_pairs(pairs: pd.DataFrame) -> dict[str, object]:
    """The ratio of PyTorch with compressed rows to PyTorch, with one item and the fewest threads; empty without any."""
    found = pairs[(pairs["runtime"] == CSR) & (pairs["reference"] == "torch") & (pairs["batch"] == 1)]
    if found.empty:
        return {}
    row: Any = next(found.sort_values("threads").itertuples(index=False))
    return {
        **{"ratio": 1 / row.ratio, "ratio_low": 1 / row.high, "ratio_high": 1 / row.low},
        "in_turns": True,
        "latency_verdict": row.verdict,
    }


def medians(variants: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The columns of the ratio in the table of variants, by the SHA-256 of the file."""
    keys = ["ratio", "ratio_low", "ratio_high", "in_turns", "latency_verdict"]
    return {row["onnx_sha256"]: {key: row[key] for key in keys} for row in variants.to_dict("records")}


def _file(form: Form) -> dict[str, object]:
    return {
        "form": form.name,
        "units_removed": sum(one.before - one.after for one in form.removed) if form.removed else None,
        "onnx_sha256": form.onnx_sha256,
        "bytes": form.path.stat().st_size,
        "zstd_bytes": zstd_bytes(form.path),
    }


def _weights(form: Form) -> dict[str, object]:
    """What the weights of a file say, and the sizes with those beside it.

    Raises:
        StudyError: they cannot be read.
    """
    layers = list({layer.weight.key: layer for layer in read(form.path).layers}.values())
    total = sum(layer.weight.size for layer in layers)
    shares = [(layer, evaluate(parse("exact_zeros"), layer.weight.blocks())[0].value) for layer in layers]
    sizes = [(path.stat().st_size, zstd_bytes(path)) for path in form.files()]
    row: dict[str, object] = {"fc_weights": total, "bytes": sum(size for size, _ in sizes)}
    row["zstd_bytes"] = None if any(small is None for _, small in sizes) else sum(small or 0 for _, small in sizes)
    if total and all(share is not None for _, share in shares):
        nonzero = sum(round((1 - (share or 0.0)) * layer.weight.size) for layer, share in shares)
        row |= {"exact_zeros": 1 - nonzero / total, "fc_bound": total / nonzero if nonzero else None}
        stored = sum(
            (1 - (share or 0.0)) * layer.weight.size * layer.weight.source.dtype.itemsize for layer, share in shares
        )
        row["nonzero_bytes"] = round(stored) + -(-total // 8)
    if counted := work(form.path):
        row |= {"macs": counted.macs, "nonzero_macs": counted.nonzero}
        row["network_bound"] = counted.macs / counted.nonzero if counted.nonzero else None
    for name, measure in (("value_bits", value_bits), ("int8_bits", int8_bits)):
        with suppress(Undefined):
            bits = sum(measure(layer.weight.blocks(), layer.weight.size) * layer.weight.size for layer in layers)
            row[name] = bits / total if total else None
    return row


def ranks_of(layers: Iterable[tuple[Mapping[str, object], Layer]]) -> pd.DataFrame:
    """One row a fully-connected layer, behind the cells that each comes with."""
    return frame(RANKS, (_ranks(labels, layer) for labels, layer in layers))


def _ranks(labels: Mapping[str, object], layer: Layer) -> dict[str, object]:
    outputs, inputs = layer.weight.shape
    row: dict[str, object] = {**labels, "layer": layer.name, "out_features": outputs, "in_features": inputs}
    share = evaluate(parse("exact_zeros"), layer.weight.blocks())[0].value
    statistics = weight_statistics(layer.weight)
    rows, columns = statistics.dead_rows, statistics.dead_columns
    row |= {"exact_zeros": share, "dead_rows": rows, "dead_columns": columns}
    if share and rows is not None and columns is not None:
        row["zeros_in_dead"] = (outputs * inputs - (outputs - rows) * (inputs - columns)) / (share * outputs * inputs)
    for name, measure in (("value_bits", value_bits), ("int8_bits", int8_bits)):
        with suppress(Undefined):
            row[name] = measure(layer.weight.blocks(), layer.weight.size)
    try:
        found = ranks(layer.weight)
    except Undefined as error:
        return {**row, "reason": str(error)}
    return {**row, "stable_rank": found.stable, "effective_rank": found.effective, "rank": found.rank}


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """`zeros` as people read it."""
    return text(ZEROS, table)


def ranks_shown(table: pd.DataFrame) -> pd.DataFrame:
    """`ranks` as people read it: one row a model and layer, the mean of its runs."""
    return pd.DataFrame(_means(table))


def _means(table: pd.DataFrame) -> Iterator[dict[str, str]]:
    for (model, layer), rows in table.groupby(["model", "layer"], sort=False):
        first = rows.iloc[0]

        def mean(key: str, form: str, scale: float = 1, rows: pd.DataFrame = rows) -> str:
            values = rows[key].astype(float).dropna()
            if values.empty:
                return MISSING
            spread = f" ± {number(values.std(), form, scale)}" if len(values) > 1 else ""
            return number(values.mean(), form, scale) + spread

        yield {
            "model": str(model),
            "layer": str(layer),
            f"weights (out {TIMES} in)": f"{first.out_features} {TIMES} {first.in_features}",
            "zeros, %": mean("exact_zeros", ".1f", 100),
            "dead rows": mean("dead_rows", ".0f"),
            "dead columns": mean("dead_columns", ".0f"),
            "zeros in dead ones, %": mean("zeros_in_dead", ".0f", 100),
            "entropy, bits": mean("value_bits", ".2f"),
            "int8 entropy, bits": mean("int8_bits", ".2f"),
            "stable rank": mean("stable_rank", ".1f"),
            "effective rank": mean("effective_rank", ".1f"),
        }
