"""What was found of the layers of ONNX files as a table for people, as CSV and as JSON for programs."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.inputs.onnx_file import Described, DescribedFile
from analysis.measures.noise import baselines, indistinguishable, table
from analysis.measures.sparsity import ALWAYS, MEASURES, Measure, Value

if TYPE_CHECKING:
    from analysis.weights.proof.residual import Proof

COLUMNS = ("model", "seed", "layer", "out_features", "in_features", "measure", "value", "reason", "bound", "verified")
"""Those of report/sparsity.csv and `verified`."""
MISSING = "-"
COMPARED = (MEASURES["hoyer"], MEASURES["gini"])
"""Measures by which a layer is held against noise."""
ZEROS = MEASURES["exact_zeros"]
COUNTS = ("l0", "l0_eps")
SHOWN = 6
"""Names in a sentence."""
SIDE_BY_SIDE = 6
"""Layers in a table of facts, a column each."""


def rows(files: Sequence[DescribedFile], measures: Sequence[Measure]) -> Iterator[dict[str, Any]]:
    """One row a layer and measure, and after them one a layer and fact; None where there is no value."""
    for file in files:
        for found in file.layers:
            out_features, in_features = found.layer.weight.shape
            row = {
                "model": file.model,
                "seed": None,
                "layer": found.layer.name,
                "out_features": out_features,
                "in_features": in_features,
                "verified": verified(found.proof),
            }
            for measure, value in zip(measures, found.values, strict=True):
                yield {**row, "measure": str(measure), **value.cells()}
            for name, fact in found.facts.named().items() if found.facts else ():
                yield {**row, "measure": name, "value": fact, "reason": "", "bound": 0.0}


def csv_of(file: DescribedFile, measures: Sequence[Measure], number: int) -> Iterator[str]:
    """The rows of a file, and before those of the first one the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if number == 1:
        writer.writeheader()
    writer.writerows(rows([file], measures))
    yield from text.getvalue().splitlines()


def json_of(files: Sequence[DescribedFile], measures: Sequence[Measure]) -> Iterator[str]:
    """All files as one object."""
    record = {"schema": "sparsity/1", "files": [_file(file, measures) for file in files]}
    yield json.dumps(record, indent=2, allow_nan=False)


def _file(file: DescribedFile, measures: Sequence[Measure]) -> dict[str, Any]:
    weights, zeros = totals(file)
    return {
        "model": file.model,
        "path": str(file.path),
        "fc_layers": len(file.layers),
        "fc_weights": weights,
        "fc_exact_zeros": zeros,
        "layers": [_layer(found, measures) for found in file.layers],
        "skipped": [vars(skipped) for skipped in file.weights.skipped],
    }


def _layer(found: Described, measures: Sequence[Measure]) -> dict[str, Any]:
    layer = found.layer
    out_features, in_features = layer.weight.shape
    size = layer.weight.size
    record: dict[str, Any] = {
        "layer": layer.name,
        "node": layer.node,
        "operator": layer.operator,
        "tensor": layer.tensor,
        "form": layer.form,
        "role": layer.role,
        "out_features": out_features,
        "in_features": in_features,
        "dtype": layer.weight.dtype,
        "tied_to": layer.tied_to or None,
        "measures": [_value(m, v, size) for m, v in zip(measures, found.values, strict=True)],
    }
    if found.facts:
        record["facts"] = found.facts.named()
    if found.proof:
        record["verified"] = vars(found.proof)
    return record


def _value(measure: Measure, value: Value, size: int) -> dict[str, Any]:
    return {
        "measure": str(measure),
        "name": measure.name,
        "parameters": dict(measure.parameters),
        **vars(value),
        "noise": {kind: vars(of) for kind, of in baselines(measure, size).items()},
        "not_distinguishable_from": [] if value.value is None else indistinguishable(value.value, measure, size),
    }


def table_of(file: DescribedFile, measures: Sequence[Measure], number: int) -> Iterator[str]:
    """A table of a file, and below it in words what does not go into cells; an empty line before all but the first."""
    if number > 1:
        yield ""
    yield f"{file.path}: {summary(file)}"
    if file.layers:
        yield ""
        yield _grid([_cells(found, measures) for found in file.layers])
    if any(found.facts for found in file.layers):
        yield ""
        for start in range(0, len(file.layers), SIDE_BY_SIDE):
            yield _facts(file.layers[start : start + SIDE_BY_SIDE])
    if noise := table(COMPARED, sorted({found.layer.weight.size for found in file.layers})):
        yield "\nNoise of as many weights, with its standard deviation:\n"
        yield _grid(noise)
    notes = [*remarks(file, measures), *skipped(file)]
    if notes:
        yield ""
        yield from notes


def summary(file: DescribedFile) -> str:
    weights, zeros = totals(file)
    if not file.layers:
        return "no fully-connected layer"
    layers = f"{len(file.layers)} fully-connected layer{'' if len(file.layers) == 1 else 's'}"
    tied = ", tied ones counted once" if any(found.layer.tied_to for found in file.layers) else ""
    share = ", not all of them finite" if zeros is None else f", {100 * zeros:.3g} % of them exactly zero"
    return f"{layers} with {weights:,} weights{tied}{share}"


def totals(file: DescribedFile) -> tuple[int, float | None]:
    """The number of weights, those of tied layers counted once, and the share of them that is exactly zero."""
    own = [found for found in file.layers if not found.layer.tied_to]
    weights = sum(found.layer.weight.size for found in own)
    shares = [found.values[ALWAYS.index(ZEROS)].value for found in own]
    if not weights or any(share is None for share in shares):
        return weights, None
    zeros = sum(share * found.layer.weight.size for share, found in zip(shares, own, strict=True) if share)
    return weights, zeros / weights


def remarks(file: DescribedFile, measures: Sequence[Measure]) -> Iterator[str]:
    """What is undefined, what is no sparser than noise, what is tied, and what was not proved."""
    for found in file.layers:
        layer = found.layer
        if layer.tied_to:
            yield f"{layer.name} has the same weights as {layer.tied_to}."
        undefined = defaultdict(list)
        for measure, value in zip(measures, found.values, strict=True):
            if value.value is None:
                undefined[value.reason].append(str(measure))
        for reason, names in undefined.items():
            yield f"{layer.name}: {', '.join(names)} undefined: {reason}."
        if found.proof and found.proof.verified and found.proof.inputs_seen < layer.weight.shape[1]:
            yield (
                f"{layer.name}: proved for {found.proof.inputs_seen:,} of its {layer.weight.shape[1]:,} inputs; the "
                "others never changed, whatever the model's input."
            )
        if found.proof and not found.proof.verified:
            yield f"{layer.name}: {'WRONG' if found.proof.verified is False else 'not proved'}: {found.proof.reason}."
    for kind, names in like_noise(file, measures).items():
        beginning = ", which is how torch.nn.Linear begins" if kind == "uniform" else ""
        yield f"Not distinguishable from {kind} noise{beginning}: {some(names)}."


def like_noise(file: DescribedFile, measures: Sequence[Measure]) -> Mapping[str, list[str]]:
    """By kind of noise, the layers whose Hoyer and Gini both lie within two deviations of it."""
    alike: dict[str, list[str]] = {}
    for found in file.layers:
        kinds = [
            set(indistinguishable(value.value, measure, found.layer.weight.size))
            for measure, value in zip(measures, found.values, strict=True)
            if measure in COMPARED and value.value is not None
        ]
        for kind in sorted(set.intersection(*kinds) if kinds else ()):
            alike.setdefault(kind, []).append(found.layer.name)
    return alike


def skipped(file: DescribedFile) -> Iterator[str]:
    """What might be taken for a fully-connected layer and is none: a line a reason."""
    alike = defaultdict(list)
    for node in file.weights.skipped:
        alike[node.operator, node.reason].append(node.node)
    for (operator, reason), nodes in alike.items():
        yield f"skipped {len(nodes)} {operator} ({some(nodes)}): {reason}"


def some(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def verified(proof: "Proof | None") -> str:
    """ "yes", "no", "not tried: ..." where ONNX Runtime could not be asked, or "" where it was not."""
    if proof is None:
        return ""
    return {True: "yes", False: "no", None: f"not tried: {proof.reason}"}[proof.verified]


def _cells(found: Described, measures: Sequence[Measure]) -> dict[str, str]:
    out_features, in_features = found.layer.weight.shape
    cells = {"layer": found.layer.name, "out x in": f"{out_features} x {in_features}", "type": found.layer.weight.dtype}
    cells |= {str(measure): _number(measure, value) for measure, value in zip(measures, found.values, strict=True)}
    cells["found as"] = found.layer.form
    if found.proof:
        cells["verified"] = verified(found.proof).partition(":")[0]
    return cells


def _facts(layers: Sequence[Described]) -> str:
    """A row a fact, a column a layer."""
    columns = {found.layer.name: found.facts.named() for found in layers if found.facts}
    facts = next(iter(columns.values()), {})
    rows = [{"fact": fact, **{name: _fact(named[fact]) for name, named in columns.items()}} for fact in facts]
    return _grid(rows)


def _fact(fact: float | None) -> str:
    return MISSING if fact is None else f"{fact:,}" if isinstance(fact, int) else f"{fact:.4g}"


def _number(measure: Measure, value: Value) -> str:
    if value.value is None:
        return MISSING
    if measure.name in COUNTS:
        return f"{round(value.value):,}"
    digits = f"{value.value:.4f}" if 1e-3 <= abs(value.value) < 1e4 or value.value == 0 else f"{value.value:.4g}"
    return digits if value.bound < 5e-5 * max(1.0, abs(value.value)) else f"{digits} ± {value.bound:.1g}"


def _grid(cells: Sequence[Mapping[str, str]]) -> str:
    from tabulate import tabulate

    words = ("layer", "type", "found as", "verified", "fact")
    align = ["left" if name in words else "right" for name in cells[0]]
    return tabulate([list(row.values()) for row in cells], list(cells[0]), colalign=align, disable_numparse=True)


@dataclass(frozen=True)
class Output:
    """Lines for each file once it is read, with its number from 1, and for all of them at the end."""

    each: Callable[[DescribedFile, Sequence[Measure], int], Iterable[str]] = lambda *_: ()
    end: Callable[[Sequence[DescribedFile], Sequence[Measure]], Iterable[str]] = lambda *_: ()


OUTPUT = {"table": Output(each=table_of), "csv": Output(each=csv_of), "json": Output(end=json_of)}
