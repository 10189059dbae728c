"""Outputs of any kind in the bench: how those of two engines are compared, and the messages where they differ."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from bench.cases import MODES, Case, Mode, find_cases, opened
from bench.models import Model
from bench.parity import limit, nan_reasons
from bench.runtimes.onnx_runtime import ONNXRuntime
from study.arithmetic import Arithmetic
from study.bench_file import read_bench
from study.errors import StudyError
from study.records.base import Parity
from tests.bench.test_cases import compared, write
from tests.conftest import run

LINEAR = "coefficients: floats = [1.0, -2.0, 0.5, 4.0, 5.0, -6.0], intercepts: floats = [0.1, 0.2, 0.3]> (x)"
MAPS = (
    "g (float[N, 2] x) => (int64[N] label, seq(map(string, float)) p) {"
    f" label, s = ai.onnx.ml.LinearClassifier<classlabels_ints: ints = [3, 7, 9], {LINEAR}"
    ' p = ai.onnx.ml.ZipMap<classlabels_strings: strings = ["a", "b", "c"]>(s) }'
)
TEXTS = (
    "g (float[N, 2] x) => (string[N] label, float[N, 3] s) {"
    f' label, s = ai.onnx.ml.LinearClassifier<classlabels_strings: strings = ["cat", "dog", "eel"], {LINEAR} }}'
)
RAGGED = "g (float[N, 4] x) => (seq(float[]) y) <int64[2] s = {1, 3}> { y = SplitToSequence<axis = 1>(x, s) }"
BOXES = (
    "g (float[1, 9, 4] boxes, float[1, 2, 9] scores) => (int64[M, 3] y)"
    " <int64[1] most = {3}, float[1] overlap = {0.5}, float[1] least = {LEAST}>"
    " { y = NonMaxSuppression(boxes, scores, most, overlap, least) }"
)
NOTHING = "g (float[N, 4] x) => (optional(float[N, 4]) y) { y = Optional<type: type_proto = float[N, 4]>() }"
BITS = "g (bfloat16[N, 4] x) => (bfloat16[N, 4] y, float8e4m3fn[N, 4] z) { y = Identity(x) z = Cast<to = 17>(x) }"
NEAR_ZERO = "g (float[N, 4] x) => (float[N, 4] y) <float low = {-13.5}> { z = Add(x, low) y = Sigmoid(z) }"
LOGARITHM = "g (float[N, 4] x) => (float[N, 4] y) { z = Neg(x) y = Log(z) }"
BOTH = ("onnxruntime", "reference")

COMPARED: dict[str, tuple[str, tuple[str, str]]] = {
    "texts": (TEXTS, BOTH),
    "a ragged sequence": (RAGGED, BOTH),
    "an empty sequence": ("g (float[N] x) => (seq(float[]) y, float[N] z) { y = SequenceEmpty() z = Abs(x) }", BOTH),
    "an optional": ("g (float[N] x) => (optional(float[N]) y) { y = Optional(x) }", BOTH),
    "an empty optional": (NOTHING, BOTH),
    "a scalar": ("g (float[N] x) => (float y) { y = ReduceSum<keepdims = 0>(x) }", ("onnxruntime", "openvino")),
    "no detection": (BOXES.replace("LEAST", "9"), ("onnxruntime", "openvino")),
    "some detections": (BOXES.replace("LEAST", "0.5"), ("onnxruntime", "openvino")),
    "types that numpy lacks": (BITS, BOTH),
    "such types as bits": (BITS, ("onnxruntime", "openvino")),
    "integers, of a type of tract's own": (
        "g (float[N] x) => (int64[N] y) <int64 big = {16777217}> { i = Cast<to = 7>(x) y = Add(i, big) }",
        ("onnxruntime", "tract"),
    ),
    "values near zero, by the same sigmoid and another": (NEAR_ZERO, ("onnxruntime", "openvino")),
    "NaN": (LOGARITHM, BOTH),
}


class Same(ONNXRuntime):
    """A second engine for what only ONNX Runtime computes here."""


class Wrong(ONNXRuntime):
    """Wrong in one value of a map."""

    def to_numpy(self, outputs: Any) -> list[Any]:
        label, (first, *others) = super().to_numpy(outputs)
        return [label, [{**first, "b": first["b"] + 1}, *others]]


class Fewer(ONNXRuntime):
    """Leaves out the last output."""

    def to_numpy(self, outputs: Any) -> list[Any]:
        return super().to_numpy(outputs)[:-1]


class Unreadable(ONNXRuntime):
    """Computes, but cannot convert."""

    def to_numpy(self, outputs: Any) -> list[Any]:
        raise RuntimeError("no such type")


class Crashing(ONNXRuntime):
    """Ends the process in its first call."""

    def run(self, inputs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)


HERE = "tests.bench.test_outputs"


def model_of(folder: Path, graph: str) -> Model:
    return write(folder / "m.onnx", graph)


def last_compared(model: Model, runtimes: tuple[str, ...], mode: Mode = "native") -> Parity | None:
    """The parity of the last of these runtimes against the first that runs the model."""
    *_, case = find_cases([model], runtimes, [2], [1], mode)
    return compared(case)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", COMPARED)
def test_outputs_of_any_kind_are_compared(tmp_path: Path, name: str, mode: Mode) -> None:
    graph, runtimes = COMPARED[name]
    found = last_compared(model_of(tmp_path, graph), runtimes, mode)
    assert found is not None
    assert found.against == runtimes[0]
    assert found.images == (8 if graph.startswith("g (float[1") else 16)
    assert found.max_abs_difference <= 1e-6
    assert found.argmax_mismatches == 0


def test_maps_are_compared_by_key(tmp_path: Path) -> None:
    model = model_of(tmp_path, MAPS)
    found = last_compared(model, ("onnxruntime", f"{HERE}:Same"))
    assert found is not None
    assert found.max_abs_difference == 0
    place = (
        r"at \[0\] by sorted key \[1\] in call \d of 8: \S+ instead of \S+; expected at most 0.001 of its largest value"
    )
    with pytest.raises(
        StudyError, match=rf": output 'p' \(float64 \[3\]\) differs from onnxruntime's by 1.0e.00, .* {place}"
    ):
        last_compared(model, ("onnxruntime", f"{HERE}:Wrong"))


def test_what_cannot_be_compared_is_refused_for_what_it_is(tmp_path: Path) -> None:
    model = model_of(tmp_path, TEXTS)
    for runtime, reason in {
        "Fewer": "-batch2-threads1-native-cpu: expected 2 outputs, found 1$",
        "Unreadable": "-batch2-threads1-native-cpu runs, but its outputs cannot be read: no such type$",
    }.items():
        with pytest.raises(StudyError, match=reason):
            last_compared(model, ("onnxruntime", f"{HERE}:{runtime}"))


RANDOM = {
    "without a seed": "g (float[N, 4] x) => (float[N, 4] y) { y = RandomNormalLike(x) }",
    "with a seed": "g (float[N, 4] x) => (float[N, 4] y) { y = RandomNormalLike<seed = 3.0>(x) }",
    "dropout": (
        "g (float[N, 4] x) => (float[N, 4] y) <float half = {0.5}, bool on = {1}> { y = Dropout(x, half, on) }"
    ),
}


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("runtimes", [BOTH, BOTH[::-1]])
def test_a_random_model_is_called_random(tmp_path: Path, name: str, runtimes: tuple[str, str]) -> None:
    message = r": \w+ gives other values of output 'y' for the same input: it is random or keeps a state, so "
    with pytest.raises(StudyError, match=message):
        last_compared(model_of(tmp_path, RANDOM[name]), runtimes)


def test_an_engine_that_does_not_run_the_file_leaves_the_others_to_each_other(tmp_path: Path) -> None:
    model = model_of(tmp_path, MAPS)  # onnx's evaluator has no ZipMap, and OpenVINO no maps
    found = last_compared(model, ("reference", "openvino", "onnxruntime", f"{HERE}:Same"))
    assert found is not None
    assert found.against == "onnxruntime"
    assert last_compared(model, ("reference", "openvino", "onnxruntime")) is None
    for runtime, reason in {
        "openvino": r"m\.onnx: OpenVINO does not load it: Loading input model Unsupported value_info type: p$",
        "reference": r"m\.onnx: the reference evaluator does not load it: No registered .* 'ZipMap' and domain",
    }.items():
        with pytest.raises(StudyError, match=reason):
            last_compared(model, ("onnxruntime", runtime))


def test_nan_is_a_reason_and_infinity_is_none(tmp_path: Path) -> None:
    reason = "output 'y' has NaN for these inputs; give other values with --input NAME=LOW..HIGH or --feed FILE.npz"
    for graph, reasons in ((LOGARITHM, [reason]), (LOGARITHM.replace("Neg(x)", "Sub(x, x)"), [])):
        case = Case(model_of(tmp_path, graph), "onnxruntime", 2)
        with opened(case, case.model.pool(2)) as engine:
            assert nan_reasons(case, engine.outputs()) == reasons


CAST = "g (float[N] x) => (float[N] y) { z = Cast<to = TYPE>(x) y = Cast<to = 1>(z) }"
EIGHT_BITS = "g (float[N] x) => (float[N] y) { q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z) }"
WEIGHTS = "g (float[N] x) => (float[N] y) <int8 q = {3}, float s = {0.5}> { w = DequantizeLinear(q, s) y = Mul(x, w) }"
LIMITS: list[tuple[str, Arithmetic, float, float]] = [
    (CAST.replace("TYPE", "11"), "float32", 1e-3, 9.5367431640625e-07),
    (CAST.replace("TYPE", "10"), "float16", 0.0078125, 0.0078125),
    (CAST.replace("TYPE", "16"), "bfloat16", 0.0625, 0.0625),
    (EIGHT_BITS, "int8", 0.05, 0.03125),
    (CAST.replace("TYPE", "17"), "int8", 0.05, 0.03125),
    (WEIGHTS, "float32", 1e-3, 9.5367431640625e-07),
]


@pytest.mark.parametrize(("graph", "arithmetic", "relative", "absolute"), LIMITS)
def test_the_limit_is_that_of_the_coarsest_arithmetic_inside(
    tmp_path: Path, graph: str, arithmetic: Arithmetic, relative: float, absolute: float
) -> None:
    model = model_of(tmp_path, graph)
    assert model.facts.arithmetic == arithmetic
    allowed = limit(Case(model, "onnxruntime", 1))
    assert (allowed.relative, allowed.absolute) == (relative, absolute)


# ---- whole sessions


def session(path: Path, file: Path, runtimes: str) -> tuple[int, str]:
    words = ("--onnx", path, "--runtimes", runtimes, "--batches", "1", "--quick", "--cold-starts", "1")
    done = run("pytest", "bench", *words, f"--benchmark-json={file}")
    return done.returncode, done.stdout + done.stderr


def test_bfloat16_also_in_a_cold_start(tmp_path: Path) -> None:
    code, shown = session(model_of(tmp_path, BITS).onnx, tmp_path / "b.json", "onnxruntime,reference")
    assert code == 0, shown
    record = read_bench(tmp_path / "b.json", "")
    assert [case.parity and case.parity.against for case in record.cases] == ["reference", "onnxruntime"]
    assert (len(record.comparisons), len(record.cold_starts)) == (1, 2)


def test_an_engine_that_does_not_load_the_file_or_crashes_ends_its_own_case_alone(tmp_path: Path) -> None:
    crashing = f"{HERE}:Crashing"
    code, shown = session(model_of(tmp_path, MAPS).onnx, tmp_path / "b.json", f"openvino,{crashing},onnxruntime")
    assert code == 1
    assert "Traceback" not in shown
    assert "m.onnx: OpenVINO does not load it: Loading input model Unsupported value_info type: p\n" in shown
    assert f"error: m {crashing} batch 1: the engine crashes with SIGSEGV" in shown
    record = read_bench(tmp_path / "b.json", "")
    assert len(record.failed) == 6, "two cases, their two comparisons and cold starts"
    assert [(case.key.runtime, case.parity) for case in record.cases] == [("onnxruntime", None)]
    assert [start.key.runtime for start in record.cold_starts] == ["onnxruntime"]
