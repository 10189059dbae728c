"""Files made to harm who reads them: each ends in layers or in one line, in bounded memory and time."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from analysis.weights.layers import read
from tests.conftest import run
from tests.support import fuzz, handmade
from tests.support.bombs import BOMBS, UNFOLDING
from tests.support.confined import Confined
from tests.support.hostile import (
    SMALL_WEIGHT,
    call,
    chain,
    external,
    field,
    function,
    made_of,
    many_calls,
    matmul,
    model,
    node,
    ones,
    raw_node,
    raw_nodes,
    refused,
    several,
    tensor,
    unfolded,
)
from tests.support.hostile import graph as raw_graph

STORED = np.array([[1, 2], [3, 4]], np.float32)
"""(in, out): what the files beside the models hold."""


@pytest.fixture(scope="module")
def confined() -> Iterator[Confined]:
    with Confined() as process:
        yield process


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_bounded_time_and_memory(name: str, tmp_path: Path, confined: Confined) -> None:
    (tmp_path / "bomb.onnx").write_bytes(BOMBS[name]())
    outcome = confined.read(tmp_path / "bomb.onnx")
    assert outcome.fault == ""
    if name in UNFOLDING:
        assert (outcome.kind, outcome.layers) == ("read", 0)
        assert "fold its constants" in outcome.message


def test_a_constant_that_is_too_large_to_compute_costs_its_own_layer_alone(tmp_path: Path) -> None:
    """However often it is asked for, and in any order."""
    huge = [*ones([200_000, 200_000], "v"), node("Neg", ["v"], ["n"]), matmul("n", y="a"), matmul("n", y="b")]
    small = [node("Neg", ["w"], ["m"]), matmul("m")]
    (tmp_path / "m.onnx").write_bytes(model([*huge, *small], [SMALL_WEIGHT]))
    found = read(tmp_path / "m.onnx")
    np.testing.assert_array_equal(found.layers[0].weight.load(), -np.ones((2, 2)))
    assert len(found.layers) == 1
    assert ["takes 40,000,008,192 elements" in each.reason for each in found.skipped] == [True, True]


def test_the_command_prints_one_line_for_each_bad_file_and_goes_on(tmp_path: Path) -> None:
    bad = {name: BOMBS[name]() for name in ("a function that calls itself", "graphs in graphs, 10,000 levels")}
    files = {**bad, "outside": model([matmul()], [external("../x")]), "cut": BOMBS["Tile"]()[:-30], "empty": b""}
    for name, content in {**files, "good": model([matmul()], [SMALL_WEIGHT])}.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    done = run("analysis", "sparsity", *sorted(tmp_path.iterdir()), "--format", "csv")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == len(files)
    assert all(line.startswith(f"error: {tmp_path}") for line in lines)
    assert "good.onnx" in done.stdout


def test_a_process_that_takes_too_long_is_noticed(tmp_path: Path, confined: Confined) -> None:
    """Otherwise no bomb could fail."""
    os.mkfifo(tmp_path / "model.onnx")
    (tmp_path / "large.onnx").write_bytes(raw_graph(raw_nodes("MatMul", "x", "x", count=100_000)))
    assert confined.read(tmp_path / "large.onnx", seconds=0.2).fault.startswith("killed: not done")
    assert confined.read(tmp_path / "model.onnx").kind == "refused"  # and the next file has a process of its own


def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    """A part of `python -m tests.support.fuzz`."""
    seeds = list(fuzz.models([handmade.PATTERNS, handmade.WITHOUT_LAYERS], tmp_path))
    mutants = list(fuzz.run(seeds, files=1000, seed=0, keep=None, workers=2))
    assert [f"{each.index} of {each.name}: {each.fault}" for each in mutants if each.fault] == []
    kinds = [each.outcome.kind for each in mutants]
    assert len(kinds) == 1000
    assert kinds.count("read") > 200
    assert kinds.count("refused") > 200


def test_a_sparse_file_of_two_gibibytes_is_no_model(tmp_path: Path, confined: Confined) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(2**31)
    outcome = confined.read(tmp_path / "m.onnx")
    assert (outcome.kind, outcome.fault) == ("refused", "")


def test_two_gibibytes_of_zeros_beside_the_model_are_not_read_before_they_are_asked_for(
    tmp_path: Path, confined: Confined
) -> None:
    with (tmp_path / "w.data").open("wb") as file:
        file.truncate(2**31)
    (tmp_path / "m.onnx").write_bytes(model([matmul()], [external("w.data", 2**31, 0, [2**14, 2**15])]))
    outcome = confined.read(tmp_path / "m.onnx")
    assert (outcome.kind, outcome.weights) == ("read", 2**29)
    assert outcome.mib < 100


def stated(dims: list[int], data_type: int = TensorProto.FLOAT, **values: object) -> TensorProto:
    return TensorProto(name="w", data_type=data_type, dims=dims, **(values or {"raw_data": bytes(16)}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        stated([2, 3]),
        stated([-2, -2]),
        stated([2**32, 2**32]),
        stated([2**62, 2**62, 4]),
        stated([0, 2**62]),
        stated([1] * 65 + [4]),
        stated([2, 2], data_type=0),
        stated([2, 2], float_data=[1.0]),
        stated([2, 2], int64_data=[1, 2, 3, 4]),
        stated([2, 2], data_type=TensorProto.INT4, raw_data=bytes(1)),
    ],
    ids=lambda wrong: f"{wrong.data_type}, {list(wrong.dims)[:4]}"[:40],
)
def test_a_tensor_that_contradicts_itself_is_refused(tmp_path: Path, wrong: TensorProto) -> None:
    refused(tmp_path / "m.onnx", model([matmul()], [wrong]))


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (stated([2, 2], data_type=99), "the type of number 99 is not known to onnx"),
        (stated([2, 2], data_type=TensorProto.STRING, string_data=[b"a"] * 4), "'w' is a tensor of type STRING"),
        (stated([2, 2], data_type=TensorProto.COMPLEX64, raw_data=bytes(32)), "'w' is a tensor of type COMPLEX64"),
    ],
    ids=["unknown", "strings", "complex"],
)
def test_a_weight_of_a_type_that_is_not_read_costs_its_own_layer_alone(
    tmp_path: Path, weight: TensorProto, reason: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(model([matmul(y="z"), matmul("v")], [weight, tensor(STORED, "v")]))
    found = read(tmp_path / "m.onnx")
    np.testing.assert_array_equal(found.layers[0].weight.load(), STORED.T)
    assert [each.reason[: len(reason)] for each in found.skipped] == [reason]


def test_a_tensor_in_two_pieces_is_refused(tmp_path: Path) -> None:
    made = bytes(TensorProto(name="w", data_type=1, dims=[2048, 1], raw_data=bytes(8192)).SerializeToString())
    piece = bytes(TensorProto(raw_data=bytes(8192)).SerializeToString())
    refused(tmp_path / "m.onnx", raw_graph(raw_node("MatMul", "x", "w"), field(5, made + piece)))


def test_a_file_cannot_name_itself_as_the_place_of_its_weights(tmp_path: Path) -> None:
    """The marker of tensors in the file itself is random."""
    for location in ("", "0" * 32):
        refused(tmp_path / "m.onnx", model([matmul()], [external(location)]))


def test_an_attribute_cannot_have_its_numbers_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnx's evaluator would look for them itself, in the folder that the command is run in."""
    (tmp_path / "w.data").write_bytes(np.array([7], np.float32).tobytes())
    (tmp_path / "m.onnx").write_bytes(unfolded("ConstantOfShape", [2, 2], value=external("w.data", 4, 0, [1])))
    monkeypatch.chdir(tmp_path)
    found = read(tmp_path / "m.onnx")
    assert found.layers == ()
    assert "not computed here" in found.skipped[0].reason


def test_a_bomb_that_no_product_asks_for_does_no_harm(tmp_path: Path) -> None:
    unasked = [*ones([200_000, 200_000], "v"), node("Relu", ["v"], ["z"])]
    (tmp_path / "m.onnx").write_bytes(model([*unasked, matmul()], [SMALL_WEIGHT]))
    assert len(read(tmp_path / "m.onnx").layers) == 1


def test_names_from_the_file_are_printed_in_one_line(tmp_path: Path) -> None:
    """A terminal obeys what is in them."""
    named = node("MatMul", ["x", "w\x1b]0;"], ["y"], name="a\n\x1b[2Jb")
    other = node("Op\n", ["x", "w\x1b]0;"], ["z"], name="c\r", domain="d\x07")
    weight = tensor(STORED, "w\x1b]0;")
    (tmp_path / "m.onnx").write_bytes(model([named, other], [weight]))
    found = read(tmp_path / "m.onnx")
    for text in (found.layers[0].name, found.layers[0].node, *vars(found.skipped[0]).values()):
        assert text.isprintable()
    assert found.layers[0].node == "a\\n\\x1b[2Jb"


def test_a_value_that_is_made_of_itself_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model([node("Neg", ["a"], ["b"]), node("Neg", ["b"], ["a"]), matmul("a")]))
    assert read(tmp_path / "m.onnx").layers == ()


def test_zero_points_that_are_too_few_are_refused(tmp_path: Path) -> None:
    tensors = [
        tensor(np.zeros((4, 2, 8), np.uint8), "w"),
        tensor(np.ones((4, 2), np.float32), "scale"),
        tensor(np.zeros((4, 1), np.float32), "zero"),
    ]
    product = node(
        "MatMulNBits", ["x", "w", "scale", "zero"], ["y"], domain="com.microsoft", K=32, N=4, bits=4, block_size=16
    )
    assert "zero points" in refused(tmp_path / "m.onnx", model([product], tensors))


# What is unusual and no attack has to be read.


@pytest.mark.parametrize(
    ("content", "layers"),
    [
        (made_of([4000, 4000], "Neg"), 1),
        (chain("Identity", 200), 1),
        (chain("Neg", 200), 1),
        (many_calls([matmul()], 2000, SMALL_WEIGHT), 2000),
        (
            model(
                [call("F", "x", f"y{i}") for i in range(1000)], [SMALL_WEIGHT], [function("F", several(matmul(), 10))]
            ),
            10_000,
        ),
    ],
    ids=["16 million computed", "behind 200 Identity", "behind 200 Neg", "2,000 calls", "10,000 layers"],
)
def test_what_is_merely_large_is_read(tmp_path: Path, confined: Confined, content: bytes, layers: int) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    outcome = confined.read(tmp_path / "m.onnx")
    assert (outcome.kind, outcome.layers, outcome.fault) == ("read", layers, "")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_a_weight_of_no_elements_is_a_layer_of_none(tmp_path: Path, shape: tuple[int, int]) -> None:
    (tmp_path / "m.onnx").write_bytes(model([matmul()], [tensor(np.zeros(shape, np.float32), "w")]))
    (layer,) = read(tmp_path / "m.onnx").layers
    assert layer.weight.load().shape == shape[::-1]
    assert list(layer.weight.blocks()) == []


def test_bytes_between_the_rows_of_a_matrix_are_not_taken_for_memory_to_be_had(tmp_path: Path) -> None:
    """One weight a row, in blocks of 2^17: a block of so many rows as there are small ones would be all of the file."""
    rows, block = 64, 2**17
    stored = np.zeros((rows, 1, block // 2), np.uint8)
    stored[:, 0, 0] = 9
    tensors = [tensor(stored, "w"), tensor(np.ones((rows, 1), np.float32), "scale")]
    product = node(
        "MatMulNBits", ["x", "w", "scale"], ["y"], domain="com.microsoft", K=1, N=rows, bits=4, block_size=block
    )
    (tmp_path / "m.onnx").write_bytes(model([product], tensors))
    (layer,) = read(tmp_path / "m.onnx").layers
    np.testing.assert_array_equal(layer.weight.load(), np.ones((rows, 1), np.float32))
    assert all(len(block) <= 2 for block in layer.weight.blocks())
