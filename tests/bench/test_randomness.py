"""Files that draw random numbers: refused where that reaches an output, before anything is timed."""

from pathlib import Path

import pytest

from bench.cases import find_cases
from bench.models import Model
from bench.randomness import refuse_random
from study.errors import StudyError
from tests.bench.test_cases import write

DRAWN = "n = RandomNormalLike(x) m = Mul(n, scale) y = Add(x, m)"
GRAPH = f"g (float[N, 4] x, float scale) => (float[N, 4] y) {{ {DRAWN} }}"
INNER = (
    "g (float[N, 4] x, bool c) => (float[N, 4] y) { y = If(c) <then_branch = t () => (float[N, 4] a)"
    " { a = RandomUniformLike(x) }, else_branch = e () => (float[N, 4] b) { b = Identity(x) }> }"
)


def checked(model: Model, *runtimes: str) -> None:
    refuse_random(find_cases([model], runtimes, [1], [1]))


def test_noise_that_an_input_turns_off_is_no_hindrance(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx", GRAPH)
    assert model.facts.random == ("'n' (RandomNormalLike)",)
    with pytest.raises(StudyError, match=r"output 'y' is random, because node 'n' \(RandomNormalLike\) draws numbers"):
        checked(model, "onnxruntime", "reference")
    model.given.values["scale"] = "0"  # type: ignore[index]
    checked(model, "onnxruntime", "reference")


def test_one_engine_alone_is_measured_without_a_comparison(tmp_path: Path) -> None:
    checked(write(tmp_path / "m.onnx", GRAPH), "onnxruntime")


def test_a_draw_inside_a_branch_counts(tmp_path: Path) -> None:
    assert write(tmp_path / "m.onnx", INNER).facts.random == ("'a' (RandomUniformLike)",)
