"""Weights of quantised files, against the float weights before and the formula that each tool documents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.weights.layers import Layer, read
from analysis.weights.proof import verify
from analysis.weights.quantisation import Scale
from tests.support.quantised import PATTERNS, Weights
from tests.support.quantisers import optimise


def assert_weights(layers: Sequence[Layer], path: Path, weights: dict[str, Weights], name: str, form: str) -> None:
    """By name; a product of two scales that are one constant is known only up to a factor."""
    assert all(proof.verified for proof in verify(path, layers))
    for layer in layers:
        values, expected = layer.weight.load(), weights[layer.name]
        relative = name == "words" and "dynamic" in form and layer.name == "fc1"  # its input is a quantised table
        assert layer.weight.scale is (Scale.RELATIVE if relative else Scale.KNOWN)
        largest = np.nanmax(np.abs(expected))
        factor = largest / np.abs(values).max() if relative else 1
        # the product of two scales in float16 is rounded once more
        rounding = 2**-10 if relative and "float16" in form else 1e-6
        assert np.nanmax(np.abs(values * factor - expected)) / largest < rounding, layer.pattern


@pytest.mark.parametrize(("name", "form"), PATTERNS)
def test_a_quantised_weight_is_the_float_weight_put_through_the_tools_formula(
    name: str, form: str, tmp_path: Path
) -> None:
    file = PATTERNS[name, form](tmp_path)
    layers = read(file.path).layers
    assert [layer.name for layer in layers] == list(file.weights)
    assert_weights(layers, file.path, file.weights, name, form)


PRODUCTS = {"FusedMatMul", "MatMul"}
"""Those of attention, whose operands are computed."""
OPTIMISED = [
    *(
        case
        for how in ("QInt8 per tensor", "QInt8 per channel")
        for case in (
            ("perceptron", f"dynamic, {how}", {"DynamicQuantizeMatMul"}, set()),
            ("perceptron", f"static QDQ, {how}", {"QGemm", "QLinearMatMul"}, set()),
            ("attention", f"dynamic, {how}", {"MatMulIntegerToFloat", "DynamicQuantizeMatMul"}, PRODUCTS),
        )
    ),
    *(
        ("words", f"QDQ, 4 bits in blocks, symmetric {symmetric}", {"FusedGemm", "MatMulNBits"}, {"Gather"})
        for symmetric in (False, True)
    ),
]


@pytest.mark.parametrize(("name", "form", "operators", "skipped"), OPTIMISED)
def test_the_optimiser_replaces_the_operators_and_keeps_the_weights(
    name: str, form: str, operators: set[str], skipped: set[str], tmp_path: Path
) -> None:
    file = PATTERNS[name, form](tmp_path)
    optimise(file.path, path := tmp_path / "optimised.onnx")
    found = read(path)
    assert {layer.operator for layer in found.layers} == operators
    assert {each.operator for each in found.skipped} == skipped
    assert sorted(layer.name for layer in found.layers) == sorted(file.weights)
    assert_weights(found.layers, path, file.weights, name, form)
