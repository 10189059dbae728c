"""Read real ONNX files and their quantised, halved and optimised forms, and measure the files in two engines.

    python -m tests.foreign                    the weights of the files and of all their forms, minutes
    python -m tests.foreign --bench            the latency of the files, in ONNX Runtime and OpenVINO
    python -m tests.foreign rapidocr-onnxruntime silero-vad

The files come from packages of PyPI and npm (`tests.foreign.packages`). Each layer of a form is compared with the
matrix of the original file that is nearest to it. The exit code is 1 if a matrix is refuted, differs from the
original's, or a command ends in a traceback.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from analysis.sparsity import main as sparsity
from analysis.weights.layers import read
from analysis.weights.quantisation import Scale
from study.bench_file import read_bench
from study.errors import StudyError, exit_with, one_line
from study.onnx_given import parse_given
from study.onnx_inputs import batch_sizes, signature
from study.onnx_values import generate
from tests.foreign.forms import FORMS, Form, make
from tests.foreign.packages import PACKAGES, Fetched, fetch

Matrices = Sequence[NDArray[Any]]
MOST_SECONDS = 600
"""Time limit of one session of the bench."""


@dataclass(frozen=True)
class Outcome:
    """Result of the analysis of one file: counts of layers, and faults."""

    layers: int = 0
    """With 1x1 convolutions."""
    fully_connected: int = 0
    """Without them."""
    verified: int = 0
    not_tried: int = 0
    unknown_scale: int = 0
    wrong: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [
            f"{self.fully_connected} + {self.layers - self.fully_connected} layers",
            f"{self.verified} verified",
            f"{self.not_tried} not tried",
        ]
        parts += [f"{self.unknown_scale} of unknown scale"] if self.unknown_scale else []
        return "  ".join([", ".join(parts), *(f"WRONG: {text}" for text in self.wrong)])


def analysed(path: Path, form: Form | None = None, originals: Matrices = ()) -> tuple[Outcome, Matrices]:
    """The outcome of `analysis sparsity --verify`, and the matrices; those of a form are compared with `originals`."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = sparsity([str(path), "--verify", "--format", "json", "--pointwise"])
        except Exception:
            return Outcome(wrong=(traceback.format_exc().splitlines()[-1],)), ()
    if code not in (0, 1):
        return Outcome(wrong=(one_line(StudyError(errors.getvalue())),)), ()
    layers = json.loads(output.getvalue())["files"][0]["layers"]
    wrong = [
        f"{each['layer']}: {each['verified']['reason']}" for each in layers if each["verified"]["verified"] is False
    ]
    unknown = 0
    matrices = []
    for layer in read(path, pointwise=True).layers:
        weight = layer.weight.load()
        matrices.append(weight)
        unknown += layer.weight.scale is Scale.UNKNOWN
        if form is not None and layer.weight.scale is not Scale.UNKNOWN:
            relative = layer.weight.scale is Scale.RELATIVE
            same = [form.distance(weight, each, relative) for each in originals if each.shape == weight.shape]
            if same and min(same) > form.tolerance:
                wrong.append(f"{layer.name}: {min(same):.2g} from the original")
    proofs = [each["verified"]["verified"] for each in layers]
    connected = sum(each["role"] != "pointwise" for each in layers)
    return Outcome(len(layers), connected, proofs.count(True), proofs.count(None), unknown, tuple(wrong)), matrices


def weights(file: Fetched) -> Iterator[tuple[str, Outcome | str]]:
    """The outcome of the file, then of each form; or why ONNX Runtime's tool cannot make it."""
    outcome, originals = analysed(file.path)
    yield "as it is", outcome
    pool = calibration(file)
    for name, made in make(file.path, pool):
        if isinstance(made, str):
            yield name, made
            continue
        found, _ = analysed(made, FORMS[name], originals)
        lost = outcome.fully_connected - found.fully_connected
        missing = [f"{lost} layers lost"] if lost > 0 and FORMS[name].keeps else []
        yield name, replace(found, wrong=(*found.wrong, *missing))


def calibration(file: Fetched) -> Sequence[Mapping[str, NDArray[Any]]]:
    """Two inputs of the file, for a static quantisation."""
    words: dict[str, list[str]] = {"--shape": [], "--input": []}
    for option, word in zip(file.words[::2], file.words[1::2], strict=True):
        words[option].append(word)
    given = parse_given(words["--shape"], words["--input"], ())
    taken = signature(onnx.load(file.path).graph, given)
    [batch] = batch_sizes(taken, given.shapes, [1])
    return generate(taken, given, batch, seed=0, count=2)


def latency(file: Fetched) -> tuple[str, bool]:
    """The comparison that `pytest bench` makes of the file, or its error; and whether it is one of the two."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "bench.json"
        command = [sys.executable, "-m", "pytest", "bench", "-q", "--onnx", str(file.path), *file.words, "--quick"]
        command += ["--runtimes", "onnxruntime,openvino", "--batches", "1", "--cold-starts", "0"]
        done = subprocess.run(
            [*command, f"--benchmark-json={target}"], capture_output=True, text=True, timeout=MOST_SECONDS
        )
        if done.returncode == 0:
            record = read_bench(target, "")
            parts = [
                f"{pair.key.runtime} {pair.ratio.value:.3f} times as fast as {pair.reference} (quick)"
                for pair in record.comparisons
            ]
            differences = [case.parity.max_abs_difference for case in record.cases if case.parity]
            parts += [f"outputs differ by at most {max(differences):.1e}"] if differences else []
            return ", ".join([*parts, *record.left_out.values()]), True
    output = (done.stdout + done.stderr).splitlines()
    errors = dict.fromkeys(line.strip() for line in output if "error: " in line)
    broken = any("Traceback" in line or "INTERNALERROR" in line for line in output)
    return " | ".join(errors) or f"exit code {done.returncode}", bool(errors) and not broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.foreign", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("packages", metavar="PACKAGE", nargs="*", help=", ".join(each.name for each in PACKAGES))
    parser.add_argument("--bench", action="store_true", help="measure latency instead of reading weights")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/foreign"), help="of the files (%(default)s)")
    options = parser.parse_args()
    failed = 0
    for file in fetch(options.folder, options.packages):
        print(f"{file.package}  {file.path.name}", flush=True)
        if options.bench:
            text, holds = latency(file)
            print(f"    {text}", flush=True)
            failed += not holds
            continue
        for name, outcome in weights(file):
            print(f"    {name:18} {outcome}", flush=True)
            failed += isinstance(outcome, Outcome) and bool(outcome.wrong)
    print(f"{failed} failed" if failed else "none failed")
    return 1 if failed else 0


if __name__ == "__main__":
    exit_with(main)
