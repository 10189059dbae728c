"""Which matrix a name means: the one that ONNX Runtime multiplies with when it runs the whole model.

In each model of CASES x goes through one product with a constant, and names are used twice, passed on or hidden.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from analysis.weights.layers import read
from study.errors import StudyError
from tests.support.notation import FUNCTION, run, save

SIZE = 4
RANDOM = np.random.default_rng(3)
W, V, U = (RANDOM.standard_normal((SIZE, SIZE)).astype(np.float32) for _ in range(3))
CONSTANTS: dict[str, Any] = {"w": W, "v": V, "once": np.array(1), "yes": np.array(True)}
ELSE = "else_branch = e () => (float[] r) { r = Identity(x) }"
OVERRIDE = FUNCTION.replace('domain: "local"', 'domain: "{}"')


def branch(nodes: str) -> str:
    return f"y = If(yes)<then_branch = t () => (float[] z) {{ {nodes} }}, {ELSE}>"


def loop(state: str, nodes: str) -> str:
    body = f"b (int64 i, bool go, float[] {state}) => (bool on, float[] z) {{ on = Identity(go) {nodes} }}"
    return f"y = Loop(once, , x)<body = {body}>"


def calling(parameters: str, nodes: str) -> str:
    return f"{FUNCTION} F ({parameters}) => (z) {{ {nodes} }}"


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "a branch takes a weight from around it": (branch("z = MatMul(x, w)"), {}),
    "a branch takes a computed weight from around it": (f"k = Neg(w) {branch('z = MatMul(x, k)')}", {}),
    "an initializer of a branch hides one of its name": (branch("z = MatMul(x, w)"), {"own": {"t": {"w": U}}}),
    "nodes in another order": ("y = MatMul(x, k) k = Neg(j) j = Abs(w)", {}),
    "a branch takes a weight that is made later": (f"{branch('z = MatMul(x, k)')} k = Neg(w)", {}),
    "a name of a branch is one of the graph's later on": (
        branch("k = Neg(w) z = MatMul(x, k)").replace("y = If", "u = If") + " k = Identity(u) y = Identity(k)",
        {},
    ),
    "two branches each have a name": (
        branch("k = Neg(w) z = MatMul(x, k)").replace("r = Identity(x)", "k = Abs(v) r = Mul(x, k)"),
        {},
    ),
    "a branch within a branch": (branch(branch("z = MatMul(x, w)").replace("y =", "z =", 1)), {"own": {"t": {"w": U}}}),
    "the input of a loop hides a constant": (loop("v", "z = MatMul(v, w)"), {}),
    "an initializer of a loop hides one of its name": (loop("s", "z = MatMul(s, w)"), {"own": {"b": {"w": U}}}),
    "a function calls its arguments by another's names": (
        "y = local.F(x, v, w)",
        {"functions": calling("x, w, v", "z = MatMul(x, w)")},
    ),
    "a function has a name of the graph's for a value of its own": (
        "y = local.F(x, w)",
        {"functions": calling("a, b", "v = Neg(b) z = MatMul(a, v)")},
    ),
    "a function's branch takes the function's name": (
        "y = local.F(x, v, yes)",
        {"functions": calling("x, w, c", branch("z = MatMul(x, w)").replace("yes", "c").replace("y =", "z ="))},
    ),
    "the result of a function is a weight": (
        "k = local.F(w) y = MatMul(x, k)",
        {"functions": calling("a", "z = Neg(a)")},
    ),
    "the same function for two weights": (
        "k = local.F(w) j = local.F(k) y = MatMul(x, j)",
        {"functions": calling("a", "z = Add(a, a)")},
    ),
    "a function of a standard operator's name": (
        "k = Neg(w) y = MatMul(x, k)",
        {"functions": f"{OVERRIDE.format('')} Neg (a) => (z) {{ z = Abs(a) }}"},
    ),
    "the same in the other name of the domain": (
        "k = Neg(w) y = MatMul(x, k)",
        {"functions": f"{OVERRIDE.format('ai.onnx')} Neg (a) => (z) {{ z = Abs(a) }}"},
    ),
    "a function of a product's name": (
        "y = MatMul(x, w)",
        {"functions": f"{OVERRIDE.format('')} MatMul (a, b) => (z) {{ c = Neg(b) z = Gemm(a, c) }}"},
    ),
    "a function of the name of a product of ONNX Runtime's": (
        "y = com.microsoft.FusedMatMul(x, w)",
        {"functions": f"{OVERRIDE.format('com.microsoft')} FusedMatMul (a, b) => (z) {{ c = Neg(b) z = Gemm(a, c) }}"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_name_means_the_matrix_that_the_whole_model_multiplies_with(name: str, tmp_path: Path) -> None:
    nodes, more = CASES[name]
    path = save(tmp_path, nodes, CONSTANTS, x=f"float[{SIZE}, {SIZE}]", **more)
    (layer,) = read(path).layers
    x = RANDOM.standard_normal((SIZE, SIZE)).astype(np.float32)
    np.testing.assert_allclose(run(path, x=x)[0], x @ layer.weight.load().T, atol=1e-5)


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "two nodes": ("k = Neg(w) k = Abs(w) y = MatMul(x, k)", {}),
    "a node and an initializer": ("w = Neg(v) y = MatMul(x, w)", {}),
    "a node and an input": ("x = Neg(v) y = MatMul(w, x)", {}),
    "two nodes of a branch": (branch("k = Neg(w) k = Abs(w) z = MatMul(x, k)"), {}),
    "two nodes of a function": (
        "y = local.F(x, w)",
        {"functions": calling("a, b", "k = Neg(b) k = Abs(b) z = MatMul(a, k)")},
    ),
    "a node and an argument of a function": (
        "y = local.F(x, w)",
        {"functions": calling("a, b", "b = Neg(b) z = MatMul(a, b)")},
    ),
    "two functions": (
        "k = local.F(w) y = MatMul(x, k)",
        {"functions": calling("a", "z = Neg(a)") + calling("a", "z = Abs(a)")},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_is_defined_twice_is_refused_as_onnx_runtime_does(name: str, tmp_path: Path) -> None:
    nodes, more = REFUSED[name]
    path = save(tmp_path, nodes, CONSTANTS, x=f"float[{SIZE}, {SIZE}]", **more)
    with pytest.raises(StudyError, match=r"defined twice|two functions of one name"):
        read(path)
    with pytest.raises(Exception, match=r"Duplicate definition of name|[Ff]unction"):
        run(path, x=W)


@pytest.mark.parametrize("arguments", ["w, x", "x, w"])
def test_a_function_with_two_arguments_of_one_name_is_refused(arguments: str, tmp_path: Path) -> None:
    """ONNX Runtime takes the last of them."""
    function = calling("a, a", "c = Relu(a) z = MatMul(c, a)")
    with pytest.raises(StudyError, match="'a' is defined twice"):
        read(save(tmp_path, f"y = local.F({arguments})", CONSTANTS, functions=function))


def test_two_initializers_of_one_name_are_refused(tmp_path: Path) -> None:
    """ONNX Runtime takes the last of them, and warns."""
    path = save(tmp_path, "y = MatMul(x, w)", CONSTANTS)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(2 * W, "w"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(StudyError, match="'w' is defined twice"):
        read(path)


@pytest.mark.parametrize(
    "nodes",
    [
        loop("w", "z = MatMul(x, w)"),
        branch("w = Relu(x) z = MatMul(x, w)"),
        branch("w = local.F(x) z = MatMul(x, w)"),  # which ONNX Runtime refuses
        "y = local.F(x)",
    ],
    ids=["input of a loop", "result in a branch", "result of a call", "result in a function"],
)
def test_a_computed_value_hides_the_constant_of_its_name_around_it(nodes: str, tmp_path: Path) -> None:
    function = calling("a", "w = Relu(a) z = MatMul(a, w)")
    assert read(save(tmp_path, nodes, CONSTANTS, functions=function)).layers == ()
