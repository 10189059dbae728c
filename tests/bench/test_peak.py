"""The peak: which library and size count, with made-up times; that each library's product is one, with few threads."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnxruntime  # noqa: F401  a library that is there
import pytest
import torch  # noqa: F401
from threadpoolctl import threadpool_info

from bench import peak
from bench.full_speed import Patience
from study.records.bench import MatrixProduct

NO_PATIENCE = Patience(None, 0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Libraries with made-up times; which of them are called with matrices of which size."""
    made: list[tuple[str, int]] = []
    seconds = {"numpy": {512: 4e-3, 1024: 9e-3, 2048: 3e-2}, "torch": {512: 2e-3, 1024: 14e-3, 2048: 1.0}}

    def timed(product: Any, inputs: Iterator[Any], calls: int, call_seconds: float, _: Patience) -> Any:
        library, size = product
        made.append(product)
        return [seconds[library][size] * (2 if n else 1) for n in range(calls)], []

    class Library:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, size: int, threads: int) -> "Library":
            self.size = size
            return self

        def __enter__(self) -> tuple[str, int]:
            return self.name, self.size

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(peak, "timed", timed)
    monkeypatch.setattr(peak, "LIBRARIES", {name: Library(name) for name in seconds})
    return made


def test_the_fastest_library_and_the_fastest_call_count(calls: Sequence[tuple[str, int]]) -> None:
    """torch takes 2 ms for 2 * 512^3 operations, and 14 ms, less than 8 times that, for 2 * 1024^3."""
    (found,) = peak.matrix_products([3], NO_PATIENCE)
    assert found == MatrixProduct(threads=3, flops_per_second=2 * 1024**3 / 14e-3, size=1024, library="torch")
    assert ("numpy", 1024) not in calls
    assert ("torch", 2048) not in calls, "which is expected to take 0.11 s"


@pytest.mark.parametrize("library", sorted(peak.LIBRARIES))
def test_each_library_multiplies_with_these_threads(library: str) -> None:
    matrix = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    with peak.LIBRARIES[library](64, 1) as product:
        (result,) = np.asarray(product(matrix)).reshape(1, 64, 64)
        blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert result == pytest.approx(matrix.astype(np.float64) @ matrix, rel=1e-5)
    assert library != "numpy" or set(blas) == {1}


def test_numpy_is_always_there_and_an_engine_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak.there() == ["numpy", "torch", "onnxruntime"]
    monkeypatch.delitem(sys.modules, "torch")
    assert peak.there() == ["numpy", "onnxruntime"]
