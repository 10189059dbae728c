"""Any ONNX file in every runtime: does it load there, and does it compute what ONNX Runtime computes?"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from export.check import read
from export.conformance.cells import SECONDS, ModelFile, program_variables, read_array
from export.conformance.environments import prepare
from export.conformance.processes import CommandError, run
from export.conformance.runtimes import Runtime, select
from export.portable.engines import ENGINES, SAME, title
from export.portable.expectations import expected
from export.portable.parsed import File
from export.portable.rules import FOREIGN, violated
from study.arithmetic import coarsest, limit
from study.artifacts import Artifacts
from study.difference import Limit
from study.errors import StudyError, printable
from study.files import sha256
from study.onnx_given import Given
from study.onnx_indices import uses
from study.onnx_inputs import batch_sizes, signature
from study.onnx_values import choices, generate
from study.parity import differences
from study.records.export import CellRecord

REFERENCES = ("onnxruntime", "reference")
"""The runtimes whose outputs are expected: those of the first one that runs the file."""
MOST_BYTES = 1 << 30
"""Size limit of one output."""
SEED = 0


@dataclass(frozen=True, kw_only=True)
class AnyFile(ModelFile):
    """A user's file with its inputs and the outputs that it should compute."""

    inputs: Mapping[int, Path]
    """The folder with the inputs, as any_model.py reads them, by batch size."""
    outputs: tuple[str, ...]
    expected: Mapping[int, Mapping[int, NDArray[Any]]]
    """By batch size, the outputs that are tensors, by number; empty where neither of `REFERENCES` runs the file."""
    reference: str
    """Title of the runtime that computed them."""
    limit: Limit

    def words(self, batch: int, folder: Path) -> Sequence[str | Path]:
        return (self.onnx, self.inputs[batch], folder)

    def with_verdict(self, cell: CellRecord, folder: Path) -> CellRecord:
        found, wanted = read_outputs(folder, self.outputs), self.expected[cell.batch]
        if not wanted:
            return replace(cell, verdict="not compared")
        cell = replace(cell, verdict="failed")
        if missing := wanted.keys() - found.keys():
            return replace(cell, reason=f"it has no output {self.outputs[min(missing)]!r}")
        names = [self.outputs[number] for number in wanted]
        calls = ([found[number] for number in wanted],)
        results = differences(names, (list(wanted.values()),), calls, cell.batch)
        numbers = [result.largest for result in results if result.kind == "number" and np.isfinite(result.largest)]
        cell = replace(cell, max_abs_difference=max(numbers, default=None))
        faults = [result for result in results if not result.holds(self.limit)]
        if faults:
            return replace(cell, reason=faults[0].sentence(self.reference, self.limit))
        return replace(cell, verdict="passed")


def find(
    named: Path, given: Given, batches: Sequence[int], artifacts: Artifacts, work: Path, tolerance: float | None = None
) -> tuple[AnyFile, File]:
    """The file with its inputs of these batch sizes in `work`, its parsed form.

    Raises:
        StudyError: it is no ONNX model, or its inputs are not known.
        OSError: it is missing or not accessible.
    """
    path = named.absolute()
    try:
        file = read(path)
        inputs = signature(file.graph, given)
        if foreign := [each.name for each in inputs if each.dtype.kind == "V"]:  # which .npy files do not hold
            remedy = f"compare engines with `pytest bench --onnx {named}`"
            raise StudyError(f"input {foreign[0]!r}: expected a type of numpy, found bfloat16 or another; {remedy}")
        batches = batch_sizes(inputs, given.shapes, batches)
        used = uses(file.model, inputs, file.shapes)
        calls = {batch: generate(inputs, given, batch, SEED, 1, used)[0] for batch in batches}
        drawn = choices(inputs, given, batches[0], used)
    except StudyError as error:
        raise StudyError(f"{named}: {error}") from None
    if drawn:
        print(f"drawn, unless --input or --feed gives them: {', '.join(drawn)}", flush=True)
    outputs = tuple(value.name for value in file.graph.output)
    folders = {batch: work / f"inputs-{batch}" for batch in batches}
    for batch, folder in folders.items():
        folder.mkdir()
        names = {"inputs": list(calls[batch]), "outputs": outputs}
        (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
        for number, array in enumerate(calls[batch].values()):
            np.save(folder / f"{number}.npy", array)
    reference, wanted = _expected_outputs(path, folders, outputs, artifacts, work)
    allowed = limit(coarsest(file.model), tolerance)
    return AnyFile(
        model=printable(path.name),
        onnx=path,
        onnx_sha256=sha256(path),
        batches=batches,
        largest_difference=allowed.relative,
        inputs=folders,
        outputs=outputs,
        expected=wanted,
        reference=reference,
        limit=allowed,
    ), file


def _expected_outputs(
    path: Path, folders: Mapping[int, Path], outputs: Sequence[str], artifacts: Artifacts, work: Path
) -> tuple[str, Mapping[int, Mapping[int, NDArray[Any]]]]:
    """The title and the outputs of the first of `REFERENCES` that runs the file, by batch size."""
    for name in REFERENCES:
        (runtime,) = select(name)
        (work / name).mkdir()
        prepared = prepare(runtime, artifacts.environments / name, work / name, None)
        if prepared.reason is not None:
            continue
        results = {}
        try:
            for batch, inputs in folders.items():
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
                    folder = Path(home)
                    words = (*prepared.command, path, inputs, folder)
                    run(words, folder, SECONDS, variables=program_variables(folder))
                    results[batch] = read_outputs(folder, outputs)
        except CommandError:
            continue
        return title(name), results
    return "", {batch: {} for batch in folders}


def read_outputs(folder: Path, outputs: Sequence[str]) -> dict[int, NDArray[Any]]:
    """The outputs that a program has written, by number.

    Raises:
        CommandError: one cannot be read.
    """
    paths = {number: folder / f"{number}.npy" for number in range(len(outputs))}
    return {number: np.asarray(read_array(path, MOST_BYTES)) for number, path in paths.items() if path.is_file()}


def runtimes(names: str | None) -> list[Runtime]:
    """The runtimes of these names that have a program for any model; those of another language have none.

    Raises:
        StudyError: none of them has one.
    """
    chosen = [runtime for runtime in select(names) if runtime.name in ENGINES]
    if not chosen:
        raise StudyError(f"--runtimes: expected some of {', '.join(ENGINES)} for --onnx, found {', '.join(SAME)} alone")
    return chosen


HEADINGS = ("runtime", "expected", "batch", "loads", "same outputs", "difference", "reason")


def table(file: File, cells: Sequence[CellRecord], chosen: Sequence[Runtime]) -> tuple[list[list[str]], bool]:
    """A row for each runtime and outcome, with the batches that have it, and whether one fails that should not."""
    rows = []
    known = expected(violated(file, FOREIGN))
    failed = False
    for runtime in chosen:
        own = [cell for cell in cells if cell.runtime == runtime.name]
        failed |= known[runtime.name].loads == "yes" and any(cell.verdict == "failed" for cell in own)
        alike: dict[tuple[str, str, str], list[CellRecord]] = {}
        for cell in own:
            alike.setdefault(_outcome(cell), []).append(cell)
        for (loads, same, reason), group in alike.items():
            batches = ", ".join(str(cell.batch) for cell in group)
            numbers = [cell.max_abs_difference for cell in group if cell.max_abs_difference is not None]
            difference = f"{max(numbers):.1e}" if numbers else ""
            words = [known[runtime.name].title, known[runtime.name].loads, batches]
            rows.append([*words, loads, same, difference, reason])
    return rows, failed


def _outcome(cell: CellRecord) -> tuple[str, str, str]:
    """Whether it loads, whether its outputs are the same, and why not."""
    reason = cell.reason or ""
    if cell.verdict == "not run":
        return "not run", "", reason
    if cell.seconds is None:
        return "no", "", reason
    return "yes", {"passed": "yes", "not compared": "-"}.get(cell.verdict, "no"), reason
