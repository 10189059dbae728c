"""Models of other patterns as ONNX Runtime's optimiser rewrites them; every entry of PATTERNS writes one file."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from tests.support import handmade
from tests.support.exported import NETWORKS, Builder, Expected
from tests.support.quantisers import optimise

PATTERNS: dict[str, Builder] = {}


def optimised(folder: Path, build: Builder, operators: tuple[str, ...], level: str = "ALL", **changes: Any) -> Expected:
    """What the runtime makes of another pattern; the order of its nodes may change."""
    (folder / "plain").mkdir()
    plain = build(folder / "plain")
    optimise(plain.path, folder / "model.onnx", level)
    nodes = [node.name for node in onnx.load(folder / "model.onnx").graph.node]

    def position(layer: str) -> int:
        return next(i for i, name in enumerate(nodes) if f"/{layer}/" in name or name.startswith(f"{layer}/"))

    weights = {layer: plain.weights[layer] for layer in sorted(plain.weights, key=position)}
    return replace(plain, path=folder / "model.onnx", weights=weights, operators=operators, **changes)


def scaled_products(folder: Path) -> Expected:
    """As exported; what is asked for are the products after the scale has become their alpha."""
    plain = script("products")(folder)
    return replace(plain, weights=plain.weights | {"scaled": plain.weights["scaled"] / 2})


def script(name: str) -> Builder:
    return partial(NETWORKS[name].write, dynamo=False)


for _pattern in ("uint8 per axis 1", "int4 per axis 1"):
    PATTERNS[f"optimised {_pattern}"] = partial(
        optimised, build=handmade.PATTERNS[_pattern], operators=("MatMulNBits",), dtype=""
    )
_products = partial(optimised, operators=("Gemm", "MatMul", "Gemm"))
PATTERNS |= {
    "optimised perceptron": partial(optimised, build=script("perceptron"), operators=("FusedGemm", "MatMul", "Gemm")),
    "optimised rank 3": partial(_products, build=script("rank 3")),
    "optimised products": partial(optimised, build=scaled_products, operators=("FusedMatMul",), named=False),
    "optimised half": partial(_products, build=script("half"), dtype=""),
    "optimised half behind a cast": partial(_products, build=script("half"), level="EXTENDED"),
}
