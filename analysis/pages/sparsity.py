"""The fully-connected layers of ONNX files: as a table for people, as CSV and as JSON for programs."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from analysis.inputs.onnx_file import Described, DescribedFile
from analysis.measures.noise import baselines, indistinguishable, table
from analysis.measures.sparsity import ALWAYS, MEASURES, Measure, Value
from study.errors import escaped
from study.files import csv_cell
from study.record_files import as_json as checked
from study.records.analysis import (
    LayerRecord,
    MeasureRecord,
    NoiseRecord,
    OnnxFileRecord,
    ProofRecord,
    SkippedNode,
    SparsityRecord,
)

K = TypeVar("K")

COLUMNS = ("model", "seed", "layer", "out_features", "in_features", "measure", "value", "reason", "bound", "verified")
"""Those of report/sparsity.csv and `verified`."""
MISSING = "-"
COMPARED = (MEASURES["hoyer"], MEASURES["gini"])
"""Measures by which a layer is compared with random weights."""
COUNTS = ("l0", "l0_eps")
MOST_LAYERS, MOST_FACTS, MOST_SIZES, MOST_NOTES = 40, 12, 8, 6
"""Layers in a table for people, in its tables of facts, sizes in that of random weights, and notes of a kind."""
SIDE_BY_SIDE, CHARACTERS = 6, 100
"""Layers in a table of facts, a column each, and the characters that they may take together."""


def rows(files: Sequence[DescribedFile], measures: Sequence[Measure]) -> Iterator[dict[str, Any]]:
    """One row a layer and measure, and after them one a layer and fact; None where there is no value."""
    for file in files:
        for one in file.layers:
            out_features, in_features = one.layer.weight.shape
            row = {
                "model": file.model,
                "seed": None,
                "layer": one.layer.name,
                "out_features": out_features,
                "in_features": in_features,
                "verified": _verified(one),
            }
            for measure, value in zip(measures, one.values, strict=True):
                yield {**row, "measure": str(measure), **value.cells()}
            for name, fact in one.facts.named().items() if one.facts else ():
                yield {**row, "measure": name, "value": fact, "reason": "", "bound": 0.0}


def as_csv(file: DescribedFile, measures: Sequence[Measure], first: bool) -> str:
    """The rows of a file, and before those of the first one the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if first:
        writer.writeheader()
    for row in rows([file], measures):
        names = {key: csv_cell(escaped(value)) for key, value in row.items() if isinstance(value, str)}
        writer.writerow({**row, **names, "measure": row["measure"]})
    return text.getvalue()


def as_json(files: Sequence[DescribedFile], measures: Sequence[Measure]) -> str:
    """All files as one object."""
    record = SparsityRecord(files=tuple(_file(file, measures) for file in files))
    return json.dumps(checked(record), indent=2, allow_nan=False) + "\n"


def _file(file: DescribedFile, measures: Sequence[Measure]) -> OnnxFileRecord:
    weights, zeros = totals(file)
    return OnnxFileRecord(
        model=file.model,
        path=str(file.path),
        fc_layers=len(file.layers),
        fc_weights=weights,
        fc_exact_zeros=zeros,
        layers=tuple(_layer(one, measures) for one in file.layers),
        skipped=tuple(SkippedNode(**vars(skipped)) for skipped in file.weights.skipped),
    )


def _layer(one: Described, measures: Sequence[Measure]) -> LayerRecord:
    layer = one.layer
    out_features, in_features = layer.weight.shape
    size = layer.weight.size
    return LayerRecord(
        layer=layer.name,
        node=layer.node,
        operator=layer.operator,
        tensor=layer.tensor,
        form=layer.pattern,
        role=layer.role,
        out_features=out_features,
        in_features=in_features,
        dtype=layer.weight.dtype,
        tied_to=layer.tied_to or None,
        measures=tuple(_value(measure, value, size) for measure, value in zip(measures, one.values, strict=True)),
        facts=one.facts.named() if one.facts else None,
        verified=ProofRecord(**vars(one.proof)) if one.proof else None,
    )


def _value(measure: Measure, value: Value, size: int) -> MeasureRecord:
    alike = () if value.value is None else indistinguishable(value.value, measure, size)
    return MeasureRecord(
        measure=str(measure),
        name=measure.name,
        parameters=dict(measure.parameters),
        **vars(value),
        noise={kind: NoiseRecord(**vars(of)) for kind, of in baselines(measure, size).items()},
        not_distinguishable_from=tuple(alike),
    )


def as_table(file: DescribedFile, measures: Sequence[Measure], first: bool) -> str:
    """A table of a file, with sentences below it; an empty line before all but the first."""
    from analysis.pages.markup import render
    from analysis.tables.sparsity import extremes

    weights, zeros = totals(file)
    sizes = sorted({one.layer.weight.size for one in file.layers})
    sparse = {number: hoyer(one) for number, one in enumerate(file.layers)}
    shown, detailed = ([file.layers[n] for n in extremes(sparse, most)] for most in (MOST_LAYERS, MOST_FACTS))
    width = max((len(one.layer.name) for one in detailed), default=1) + 2
    columns = max(1, min(SIDE_BY_SIDE, CHARACTERS // width))
    text = render(
        "sparsity.txt.j2",
        "txt",
        file=file,
        weights=weights,
        zeros=zeros,
        measured=[*(_cells(one, measures) for one in shown), *_total(file, measures)],
        shown=len(shown),
        facts=[_facts(detailed[n : n + columns]) for n in range(0, len(detailed), columns)],
        detailed=len(detailed),
        noise=table(
            COMPARED, [sizes[n * (len(sizes) - 1) // (MOST_SIZES - 1)] for n in range(MOST_SIZES)] if sizes else []
        ),
        tied=_grouped((one.layer.tied_to, one.layer.name) for one in file.layers if one.layer.tied_to),
        undefined=_grouped(_undefined(file, measures)),
        unproved=_grouped(_unproved(file)),
        most=MOST_NOTES,
        like_noise=_grouped(_like_noise(file, measures)),
        skipped=_grouped(((node.operator, node.reason), node.node) for node in file.weights.skipped),
    )
    return text if first else f"\n{text}"


def hoyer(one: Described) -> float:
    """Hoyer of a layer, NaN where it is undefined."""
    value = one.values[ALWAYS.index(MEASURES["hoyer"])].value
    return math.nan if value is None else value


def _total(file: DescribedFile, measures: Sequence[Measure]) -> Iterator[dict[str, str]]:
    """The last row of the table, of all layers together; none of a single layer, which it would repeat."""
    if len(file.layers) < 2:
        return
    weights, zeros = totals(file)
    cells = dict.fromkeys(_cells(file.layers[0], measures), "")
    yes = sum(one.proof is not None and one.proof.verified is True for one in file.layers)
    cells |= {"layer": f"all {len(file.layers)}", "out x in": f"{weights:,}"}
    cells |= {"exact_zeros": MISSING if zeros is None else f"{zeros:.4f}"}
    yield cells | ({"verified": f"{yes} yes"} if "verified" in cells else {})


def _grouped(pairs: Iterable[tuple[K, str]]) -> Mapping[K, list[str]]:
    """The names of each key, both in the order in which they come first."""
    groups: dict[K, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return groups


def totals(file: DescribedFile) -> tuple[int, float | None]:
    """The number of weights, those of tied layers counted once, and the share of them that is exactly zero."""
    own = [one for one in file.layers if not one.layer.tied_to]
    weights = sum(one.layer.weight.size for one in own)
    shares = [one.values[ALWAYS.index(MEASURES["exact_zeros"])].value for one in own]
    if not weights or None in shares:
        return weights, None
    zeros = sum(share * one.layer.weight.size for share, one in zip(shares, own, strict=True) if share)
    return weights, zeros / weights


def _like_noise(file: DescribedFile, measures: Sequence[Measure]) -> Iterator[tuple[str, str]]:
    """Each kind of random weights, and a layer whose Hoyer and Gini both lie within two deviations of theirs."""
    for one in file.layers:
        kinds = [
            set(indistinguishable(value.value, measure, one.layer.weight.size))
            for measure, value in zip(measures, one.values, strict=True)
            if measure in COMPARED and value.value is not None
        ]
        for kind in sorted(set.intersection(*kinds) if kinds else ()):
            yield kind, one.layer.name


def _undefined(file: DescribedFile, measures: Sequence[Measure]) -> Iterator[tuple[str, str]]:
    """The measures that have no value for one reason, and a layer."""
    for one in file.layers:
        valued = zip(measures, one.values, strict=True)
        missing = _grouped((value.reason, str(measure)) for measure, value in valued if value.value is None)
        for reason, names in missing.items():
            yield f"{', '.join(names)} undefined: {reason}.", one.layer.name


def _unproved(file: DescribedFile) -> Iterator[tuple[str, str]]:
    """Why a layer is not verified, or only in part, and the layer."""
    for one in file.layers:
        proof, inputs = one.proof, one.layer.weight.shape[1]
        if proof is not None and not proof.verified:
            yield f"{'WRONG' if proof.verified is False else 'not verified'}: {proof.reason}.", one.layer.name
        elif proof is not None and proof.inputs_seen < inputs:
            seen = f"verified for {proof.inputs_seen:,} of {inputs:,} inputs"
            yield f"{seen}; the others were left out, to bound the time.", one.layer.name


def _verified(one: Described) -> str:
    """ "yes", "no", "not tried: ..." where ONNX Runtime could not be asked, or "" where it was not."""
    if one.proof is None:
        return ""
    return {True: "yes", False: "no", None: f"not tried: {one.proof.reason}"}[one.proof.verified]


def _cells(one: Described, measures: Sequence[Measure]) -> dict[str, str]:
    out_features, in_features = one.layer.weight.shape
    cells = {"layer": one.layer.name, "out x in": f"{out_features} x {in_features}", "type": one.layer.weight.dtype}
    cells |= {str(measure): _number(measure, value) for measure, value in zip(measures, one.values, strict=True)}
    cells["operator pattern"] = one.layer.pattern
    return cells | ({"verified": _verified(one).partition(":")[0]} if one.proof else {})


def _facts(layers: Sequence[Described]) -> list[dict[str, str]]:
    """A row a fact, a column a layer."""
    columns = {one.layer.name: one.facts.named() for one in layers if one.facts}
    names = next(iter(columns.values()), {})
    return [{"fact": name, **{layer: _fact(facts[name]) for layer, facts in columns.items()}} for name in names]


def _fact(fact: float | None) -> str:
    return MISSING if fact is None else f"{fact:,}" if isinstance(fact, int) else f"{fact:.4g}"


def _number(measure: Measure, value: Value) -> str:
    if value.value is None:
        return MISSING
    if measure.name in COUNTS:
        return f"{round(value.value):,}"
    digits = f"{value.value:.4f}" if 1e-3 <= abs(value.value) < 1e4 or value.value == 0 else f"{value.value:.4g}"
    return digits if value.bound < 5e-5 * max(1.0, abs(value.value)) else f"{digits} ± {value.bound:.1g}"
