"""Facts from ONNX files made by hand, from the study's own, and from damaged ones."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

from bench.models import from_file
from bench.onnx_files import Facts, read
from export import check
from study import checkpoints
from study.catalogue import entry
from study.errors import StudyError
from study.onnx_given import Given, Shapes
from study.onnx_inputs import Input
from tests.conftest import Trained

F32 = TensorProto.FLOAT
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1), helper.make_opsetid("com.microsoft", 1)]


def node(kind: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def value(name: str, shape: Any, dtype: int = F32) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def ones(name: str, *shape: int, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def model(nodes: list[onnx.NodeProto], inputs: list[Any], tensors: list[Any] = [], **more: Any) -> onnx.ModelProto:  # noqa: B006
    graph = helper.make_graph(nodes, "g", inputs, [value("y", None)], tensors)
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=8, **more)


def save(path: Path, made: onnx.ModelProto) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def macs(tmp_path: Path, made: onnx.ModelProto, shapes: Shapes | None = None) -> int | None:
    return read(save(tmp_path / "model.onnx", made), Given(shapes or {})).macs


LINEAR = model([node("MatMul", "x w")], [value("x", ["N", 4])], [ones("w", 4, 3)])


def test_inputs_are_those_without_an_initializer_and_dimensions_have_a_number_a_name_or_neither(tmp_path: Path) -> None:
    inputs = [value("x", ["N", 4, None, -1]), value("w", [4]), value("ids", [2], TensorProto.INT64), value("s", [])]
    facts = read(save(tmp_path / "m.onnx", model([node("Mul", "x w")], inputs, [ones("w", 4)])))
    assert facts.inputs == (
        Input("x", np.dtype(np.float32), ("N", 4, None, None)),
        Input("ids", np.dtype(np.int64), (2,)),
        Input("s", np.dtype(np.float32), ()),
    )
    assert (facts.outputs, facts.parameters) == (("y",), 4)
    assert (facts.output_types, facts.arithmetic) == ((np.dtype(np.float32),), "float32")


def test_macs_are_of_one_item_wherever_the_batch_stands(tmp_path: Path) -> None:
    """16 steps of 4 x 3 products each; the batch is the second dimension, and the first one has a size."""
    made = model([node("MatMul", "x w")], [value("x", ["steps", "batch", 4])], [ones("w", 4, 3)])
    path = save(tmp_path / "m.onnx", made)
    assert read(path, Given(sizes={"steps": 16})).macs == 16 * 4 * 3


def test_an_input_without_any_shape_has_the_rank_that_the_user_gives_it(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", model([node("MatMul", "x w")], [value("x", None)], [ones("w", 4, 3)]))
    facts = read(path, Given({"x": (2, 5, 4)}))
    assert facts.inputs[0].shape == (None, None, None)
    assert facts.macs == 5 * 4 * 3
    with pytest.raises(StudyError, match=r"'x' has no shape: give it with --shape x="):
        read(path)


def test_parameters_are_floating_point_initializers_and_constants_wherever_they_are(tmp_path: Path) -> None:
    branch = helper.make_graph([node("Add", "x b", "z")], "branch", [], [value("z", None)], [ones("b", 4)])
    nodes = [node("Constant", "", "c", value=ones("", 4)), node("Mul", "x c", "p"), node("Gather", "p i", "q")]
    nodes.append(node("If", "flag", "y", then_branch=branch, else_branch=branch))
    tensors = [ones("i", 4, dtype=np.int64), ones("h", 7, dtype=np.float16)]
    flag = value("flag", [], TensorProto.BOOL)
    facts = read(save(tmp_path / "m.onnx", model(nodes, [value("x", [4, 4]), flag], tensors)))
    assert (facts.parameters, facts.macs) == (4 + 7 + 2 * 4, 0)


def test_subnormal_weights_lie_between_zero_and_the_smallest_normal_number(tmp_path: Path) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        tiny, least = np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal
        weights = np.array([0, -0.0, least, -least, tiny - least, tiny, -tiny, 1, np.inf, np.nan], dtype)
        made = model([node("Identity", "x")], [value("x", [1])], [numpy_helper.from_array(weights, "w")])
        torch.set_flush_denormal(True)  # arithmetic now takes a subnormal number for zero
        try:
            assert read(save(tmp_path / "m.onnx", made)).subnormal_weights == 3
        finally:
            torch.set_flush_denormal(False)


def external(path: Path, location: str = "w.bin", length: int | None = 48) -> onnx.ModelProto:
    """LINEAR with its 48 bytes of weights in a file of 50 bytes, which may be somewhere else."""
    (path / "w.bin").write_bytes(bytes(48) + b"xx")
    made = onnx.ModelProto()
    made.CopyFrom(LINEAR)
    onnx.external_data_helper.set_external_data(made.graph.initializer[0], location, 0, length)
    made.graph.initializer[0].ClearField("raw_data")
    return made


@pytest.mark.parametrize("length", [48, 0, None])
def test_weights_in_another_file_count_and_so_does_that_file(tmp_path: Path, length: int | None) -> None:
    path = save(tmp_path / "m.onnx", external(tmp_path, length=length))
    facts = read(path)
    assert (facts.parameters, facts.macs, facts.bytes) == (12, 12, path.stat().st_size + 50)


def test_weights_outside_the_folder_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "w.bin")
    for location in ("../w.bin", "/etc/passwd", "link", "missing", "", "."):
        path = save(tmp_path / "inside" / "m.onnx", external(tmp_path, location))
        with pytest.raises(StudyError) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)


def test_a_cache_of_links_is_read_and_named_as_the_user_named_it(tmp_path: Path) -> None:
    """Hugging Face's: the files of a revision are links to blobs."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "revision").mkdir()
    save(tmp_path / "blobs" / "1a", external(tmp_path / "blobs", "m.data"))
    (tmp_path / "revision" / "m.onnx").symlink_to("../blobs/1a")
    (tmp_path / "revision" / "m.data").symlink_to("../blobs/w.bin")
    found = from_file(tmp_path / "revision" / "m.onnx", Given())
    assert (found.onnx, found.facts.parameters) == (tmp_path / "revision" / "m.onnx", 12)
    assert found.facts.bytes == (tmp_path / "blobs" / "1a").stat().st_size + 50


X4 = [value("x", ["N", 4, 9, 9])]


COUNTS = [
        (model([node("Conv", "x w", group=2, strides=[2, 2])], X4, [ones("w", 6, 2, 3, 3)]), 6 * 4 * 4 * 2 * 9),
        (model([node("ConvTranspose", "x w", strides=[2, 2])], X4, [ones("w", 4, 5, 3, 3)]), 4 * 81 * 5 * 9),
        (model([node("FusedConv", "x w b z", domain="com.microsoft", activation="Relu")],
               [*X4, value("z", ["N", 6, 7, 7])], [ones("w", 6, 4, 3, 3), ones("b", 6)]), 6 * 49 * 4 * 9),
        (LINEAR, 4 * 3),
        (model([node("Gemm", "x w b", transB=1)], [value("x", ["N", 4])], [ones("w", 3, 4), ones("b", 3)]), 4 * 3),
        (model([node("Gemm", "w x", transA=1, transB=1)], [value("x", ["N", 4])], [ones("w", 4, 3)]), 4 * 3),
        (model([node("MatMul", "x z")], [value("x", ["N", 2, 5, 4]), value("z", ["N", 1, 4, 3])]), 2 * 5 * 4 * 3),
        (model([node("MatMul", "x w")], [value("x", ["N", 4])], [ones("w", 4)]), 4),
        (model([node("MatMulInteger", "x w", "u"), node("Cast", "u", to=F32)],
               [value("x", ["N", 4], TensorProto.UINT8)], [ones("w", 4, 3, dtype=np.uint8)]), 4 * 3),
        (model([node("FusedMatMul", "x w", domain="com.microsoft", alpha=2.0)], [value("x", ["N", 4])],
               [ones("w", 4, 3)]), 4 * 3),
        (model([node("Shape", "x", "s"), node("Slice", "s zero two", "t"), node("Concat", "t rest", "u", axis=0),
                node("Reshape", "x u", "v"), node("MatMul", "v w")], X4,
               [numpy_helper.from_array(np.array(n, np.int64), k) for k, n in
                {"zero": [0], "two": [2], "rest": [-1]}.items()] + [ones("w", 81, 30)]), 4 * 81 * 30),
        (model([node("MatMul", "x w")], [value("x", [8, 4])], [ones("w", 4, 3)]), 4 * 3),
        (model([node("MatMul", "x t")], [value("x", ["N", 4]), value("t", [4, 3])]), 4 * 3),
        (model([node("Add", "x z", "u"), node("MatMul", "u w")], [value("x", [8, 4]), value("z", [1, 4])],
               [ones("w", 4, 3)]), None),
        (model([node("MatMul", "v w", "u"), node("MatMul", "x u")], [value("x", ["N", 4])],
               [ones("v", 4, 4), ones("w", 4, 3)]), None),
        (model([node("FusedMatMul", "x w", domain="com.microsoft", transB=1)], [value("x", ["N", 4])],
               [ones("w", 3, 4)]), None),
        (model([node("Einsum", "x w", equation="ij,jk->ik")], [value("x", ["N", 4])], [ones("w", 4, 3)]), None),
        (model([node("Mystery", "x", domain="own")], [value("x", ["N", 4])]), None),
        (model([node("Mystery", "x")], [value("x", ["N", 4])]), None),
        (model([node("NonZero", "x", "u"), node("Cast", "u", "v", to=F32), node("MatMul", "w v")],
               [value("x", ["N", 4])], [ones("w", 3, 2)]), None),
]  # fmt: skip


def test_multiply_accumulates_of_one_item(tmp_path: Path) -> None:
    for made, expected in COUNTS:
        assert macs(tmp_path, made) == expected, made.graph.node


def test_the_shapes_of_intermediate_values_in_the_file_are_ignored(tmp_path: Path) -> None:
    made = model([node("Relu", "x", "u"), node("MatMul", "u w")], [value("x", ["N", 4])], [ones("w", 4, 3)])
    made.graph.value_info.append(value("u", [77, 4]))
    made.graph.output[0].CopyFrom(value("y", [77, 3]))
    assert macs(tmp_path, made) == 4 * 3


def test_the_user_gives_further_dimensions(tmp_path: Path) -> None:
    made = model([node("Conv", "x w")], [value("x", ["N", 3, "h", "w"])], [ones("w", 5, 3, 3, 3)])
    assert macs(tmp_path, made) is None
    assert macs(tmp_path, made, {"x": (2, 3, 10, 12)}) == 5 * 8 * 10 * 27


def test_a_product_in_a_branch_or_a_function_is_not_guessed(tmp_path: Path) -> None:
    branch = helper.make_graph([node("MatMul", "x w", "z")], "branch", [], [value("z", None)])
    choice = node("If", "flag", "y", then_branch=branch, else_branch=branch)
    inputs = [value("x", ["N", 4]), value("flag", [], TensorProto.BOOL)]
    assert macs(tmp_path, model([choice], inputs, [ones("w", 4, 3)])) is None

    def calling(body: onnx.NodeProto) -> onnx.ModelProto:
        function = helper.make_function("own", "F", ["a", "b"], ["c"], [body], OPSETS)
        nodes = [node("F", "x w", "u", domain="own"), node("MatMul", "x w")]
        return model(nodes, inputs[:1], [ones("w", 4, 4)], functions=[function])

    assert macs(tmp_path, calling(node("MatMul", "a b", "c"))) is None
    assert macs(tmp_path, calling(node("Add", "a b", "c"))) == 16


def test_the_studys_networks_as_torch_counts_them(trained: Trained) -> None:
    """LeNet-5 by hand: 28*28*6*25 + 10*10*16*150 + 400*120 + 120*84 + 84*10."""
    for name in ("baseline", "gap"):
        files = trained.artifacts.run(name, 0)
        network = checkpoints.load(entry(name), files)
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 1, 28, 28))
        facts = read(files.onnx)
        assert facts.macs == counter.get_total_flops() / 2
        assert facts.parameters >= sum(weight.numel() for weight in network.parameters())
    assert read(trained.artifacts.run("baseline", 0).onnx).macs == 117_600 + 240_000 + 48_000 + 10_080 + 840


def sequence() -> onnx.ValueInfoProto:
    return helper.make_tensor_sequence_value_info("x", F32, None)


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    bytes_of = onnx.ModelProto.SerializeToString
    for content, found in (
        (b"", "found 0"),
        (b"{'ir_version': 8}", "found other bytes or a part of one"),
        (np.random.default_rng(0).bytes(1000), "found other bytes or a part of one"),
        (bytes_of(LINEAR)[:60], "found other bytes or a part of one"),
        (bytes_of(LINEAR)[:-10], "a part of one|without"),
        (bytes_of(model([node("Identity", "w")], [], [ones("w", 4)])), "found one without"),
        (bytes_of(model([node("Identity", "x")], [sequence()])), "'x' is: sequence"),
        (bytes_of(model([node("Identity", "x")], [value("x", [1])] * 2)), "names of their own"),
        (bytes_of(model([node("Identity", "x")], [value("x\n", [1])])), "printable"),
    ):
        path.write_bytes(content)
        with pytest.raises(StudyError, match=found) as error:
            read(path)
        assert str(error.value).startswith(f"{path}")
        assert "\n" not in str(error.value)


def test_calls_that_onnx_would_follow_without_end_are_refused(tmp_path: Path) -> None:
    def functions(count: int, last: str) -> list[onnx.FunctionProto]:
        """Each calls the next one twice, in a branch too; the last is `Neg`, or calls the first."""
        bodies = [[node(f"F{i + 1}", "a", "b", domain="own"), branches(f"F{i + 1}")] for i in range(count)]
        bodies.append([node(last, "a", "c", domain="" if last == "Neg" else "own")])
        return [helper.make_function("own", f"F{i}", ["a"], ["c"], body, OPSETS) for i, body in enumerate(bodies)]

    def branches(called: str) -> onnx.NodeProto:
        branch = helper.make_graph([node(called, "b", "d", domain="own")], "branch", [], [value("d", None)])
        return node("If", "a", "c", then_branch=branch)

    call = [node("F0", "x", domain="own")]
    for count, last, refused in ((40, "Neg", True), (10, "Neg", False), (0, "F0", True), (1, "F0", True)):
        path = save(tmp_path / "m.onnx", model(call, [value("x", [1])], functions=functions(count, last)))
        for reader in (read, check.read):
            if refused:
                with pytest.raises(StudyError, match="at most 400,000 nodes, calls included, found more or an endless"):
                    reader(path)
            else:
                assert reader(path)


def test_a_missing_file_a_folder_a_pipe_and_a_file_that_is_too_large(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**31 + 1)  # sparse
    names = {"missing": "No such file", ".": "a folder", "pipe": "no plain file", "large": "2147483649"}
    for name, found in names.items():
        with pytest.raises(StudyError, match=found):
            read(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Ignoring unknown external data")
def test_any_bytes_end_in_facts_or_in_a_study_error(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    sound = [LINEAR, external(tmp_path), model([node("Conv", "x w", group=2)], X4, [ones("w", 6, 2, 3, 3)])]
    outcomes: set[type] = set()
    for index in range(600):
        content = bytearray(sound[index % 3].SerializeToString())
        for _ in range(random.integers(1, 4)):
            content[random.integers(len(content))] = random.integers(256)
        path.write_bytes(content)
        try:
            outcomes.add(type(read(path)))
        except StudyError as error:
            outcomes.add(type(error))
    assert outcomes == {Facts, StudyError}
