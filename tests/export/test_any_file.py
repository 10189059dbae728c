"""`python -m export conformance --onnx FILE`: any file in the runtimes, what is expected of each, and the exit code."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from msgspec import structs
from onnx import TensorProto, helper, numpy_helper

from export.conformance import any_file, command
from export.conformance.cells import ModelFile, run_cell
from export.conformance.environments import Prepared
from export.conformance.runtimes import select
from export.portable.rules import parse
from study.artifacts import Artifacts
from study.errors import StudyError
from study.files import sha256
from study.record_files import read_record, write_record
from study.records.module import ModuleRecord
from tests.conftest import run
from tests.support.modules import write_module
from tests.support.rules import good, insert

HERE = "onnxruntime,reference,openvino,opencv-5,tract"
"""Runtimes of the tests' environment."""


def saved(path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, list], outputs: dict[str, list], **constants):  # type: ignore[no-untyped-def, type-arg]
    """A model of opset 18; an input or output is its type and its shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
        [helper.make_tensor_value_info(name, *each) for name, each in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


def rows(output: str) -> dict[str, list[str]]:
    """The table by the first word of each row and its version."""
    lines = output.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("runtime "))
    header = lines[start]
    places = [header.index(word) for word in ("expected", "batch", "loads", "same", "difference", "reason")]
    found = {}
    for line in lines[start + 2 :]:
        cells = [line[a:b].strip() for a, b in zip(places, [*places[1:], None], strict=True)]
        name = line[: places[0]].strip()
        found[name if name not in found else f"{name}, batch {cells[1]}"] = [cells[0], *cells[2:]]
    return found


def conformance(
    path: Path, artifacts: Path, *words: str, runtimes: str = HERE
) -> tuple[int, str, dict[str, list[str]]]:
    result = run("export", "conformance", "--onnx", path, "--artifacts", artifacts, "--runtimes", runtimes, *words)
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, result.stdout, rows(result.stdout)


def test_a_model_of_several_inputs_of_several_types_is_run_at_two_batches(tmp_path: Path) -> None:
    """Embedded ids and an image of any size, two outputs; the sizes are given."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Conv", ["image", "kernel"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["average"]),
        helper.make_node("Flatten", ["average"], ["flat"]),
        helper.make_node("Add", ["rows", "flat"], ["sum"]),
    ]
    image = [TensorProto.FLOAT, ["batch", 3, "height", "width"]]
    saved(
        tmp_path / "two.onnx",
        nodes,
        {"ids": [TensorProto.INT64, ["batch"]], "image": image},
        {"sum": [TensorProto.FLOAT, ["batch", 4]], "maps": [TensorProto.FLOAT, ["batch", 4, "height", "width"]]},
        table=np.arange(40, dtype=np.float32).reshape(10, 4),
        kernel=np.ones((4, 3, 1, 1), np.float32),
    )
    np.savez(tmp_path / "inputs.npz", ids=np.array([3, 9]), image=np.ones((2, 3, 5, 6), np.float32))
    code, output, found = conformance(tmp_path / "two.onnx", tmp_path, "--feed", str(tmp_path / "inputs.npz"))
    assert code == 0, output
    assert {row[1] for row in found.values()} == {"yes"}
    assert {row[2] for row in found.values()} == {"yes"}
    assert ", batch 2: compared with ONNX Runtime " in output


def test_a_runtime_that_should_load_a_file_and_does_not_fails_and_any_other_only_says_so(tmp_path: Path) -> None:
    model = good()
    for name, inserted in (("trilu", "Trilu"), ("pool", "LpPool")):
        attributes: dict[str, Any] = {"kernel_shape": [1, 1]} if inserted == "LpPool" else {}
        node = helper.make_node(inserted, ["image"], ["image_2"], **attributes)
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        changed.graph.node[0].input[0] = "image_2"
        changed.graph.node.insert(0, node)
        onnx.save(changed, tmp_path / f"{name}.onnx")
    words = {"runtimes": "onnxruntime,opencv-5"}
    code, _, found = conformance(tmp_path / "trilu.onnx", tmp_path, **words)
    assert code == 0
    assert [row[:3] for row in found.values()] == [["yes", "yes", "yes"]] * 2
    code, _, found = conformance(tmp_path / "pool.onnx", tmp_path, **words)
    assert code == 0
    assert [row[:3] for row in found.values()] == [["yes", "yes", "yes"], ["no", "no", ""]]
    assert list(found.values())[1][4].startswith("exit code 1: ")


def function() -> onnx.ModelProto:
    model = good()
    body = [helper.make_node("Neg", ["a"], ["b"])]
    model.functions.append(helper.make_function("mine", "F", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    model.opset_import.add(domain="mine", version=1)
    insert(model, helper.make_node("F", ["features"], ["inserted"], domain="mine"))
    return model


def sparse_weight() -> onnx.ModelProto:
    model = good()
    values = numpy_helper.from_array(np.ones(2, np.float32), "sparse")
    indices = numpy_helper.from_array(np.array([0, 3]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    insert(model, helper.make_node("Mul", ["features", "sparse"], ["inserted"]))
    return model


def branches() -> onnx.ModelProto:
    model = good()
    sums = helper.make_node("ReduceSum", ["image"], ["total"], keepdims=0)
    insert(model, helper.make_node("If", ["more"], ["inserted"], then_branch=branch("Relu"), else_branch=branch("Neg")))
    model.graph.node.insert(5, helper.make_node("Greater", ["total", "two"], ["more"]))
    model.graph.node.insert(5, sums)
    return model


def branch(operator: str) -> onnx.GraphProto:
    node = helper.make_node(operator, ["features"], [operator])
    return helper.make_graph([node], operator, [], [helper.make_tensor_value_info(operator, TensorProto.FLOAT, None)])


@pytest.mark.parametrize("made", [function, sparse_weight, branches])
def test_what_the_check_expects_is_what_happens(made: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    onnx.save(made(), tmp_path / "model.onnx")
    code, output, found = conformance(tmp_path / "model.onnx", tmp_path)
    assert code == 0, output
    assert "no" in {row[0] for row in found.values()}
    assert all(row[0] in (row[1], "not known") for row in found.values()), output


def test_a_difference_is_a_failure_with_its_place(tmp_path: Path) -> None:
    """OpenCV 5 computes a Gemm of float64 wrongly, which the table does not promise."""
    saved(
        tmp_path / "double.onnx",
        [helper.make_node("Gemm", ["a", "w"], ["y"])],
        {"a": [TensorProto.DOUBLE, ["b", 4]]},
        {"y": [TensorProto.DOUBLE, ["b", 2]]},
        w=np.ones((4, 2)),
    )
    code, _, found = conformance(tmp_path / "double.onnx", tmp_path, runtimes="onnxruntime,opencv-5")
    assert code == 0
    right, *wrong = found.values()
    assert right[:4] == ["yes", "yes", "yes", "0.0e+00"]
    for row, batch in zip(wrong, (1, 2), strict=True):
        assert row[:3] == ["not known", "yes", "no"]
        assert f"output 'y' (float64 [{batch}, 2]) differs" in row[4]


def test_a_wrong_result_where_a_right_one_is_expected_is_a_failure() -> None:
    file = parse(good().SerializeToString())
    assert file is not None
    (runtime,) = select("opencv-5")
    subject = cast(ModelFile, SimpleNamespace(model="m", variant="", seed=0, onnx_sha256="", largest_difference=0.0))
    cell = run_cell(runtime, Prepared(reason="differs", broken=True), subject, 1)
    assert any_file.table(file, [cell], [runtime])[1]
    file.model.graph.node[0].op_type = "LpPool"  # which OpenCV lacks
    assert not any_file.table(file, [cell], [runtime])[1]


def test_a_failure_at_one_batch_has_a_row_of_its_own_with_that_batch() -> None:
    file = parse(good().SerializeToString())
    assert file is not None
    (runtime,) = select("opencv-5")
    subject = cast(ModelFile, SimpleNamespace(model="m", variant="", seed=0, onnx_sha256="", largest_difference=0.0))
    cells = [run_cell(runtime, Prepared(reason="too long"), subject, batch) for batch in (1, 2, 7)]
    passed = {"verdict": "passed", "seconds": 0.1, "reason": None}
    cells = [
        structs.replace(cells[0], **passed, max_abs_difference=1e-7),
        structs.replace(cells[1], verdict="failed"),
        structs.replace(cells[2], **passed, max_abs_difference=3e-7),
    ]
    rows, failed = any_file.table(file, cells, [runtime])
    assert failed
    assert [row[2:] for row in rows] == [["1, 7", "yes", "yes", "3.0e-07", ""], ["2", "no", "", "", "too long"]]


def test_outputs_that_are_compared_with_nothing_agree_with_nothing(tmp_path: Path) -> None:
    """An operator that neither reference has, and OpenVINO has."""
    saved(
        tmp_path / "swish.onnx",
        [helper.make_node("Swish", ["x"], ["y"], domain="org.openvinotoolkit")],
        {"x": [TensorProto.FLOAT, ["b", 4]]},
        {"y": [TensorProto.FLOAT, ["b", 4]]},
    )
    model = onnx.load(tmp_path / "swish.onnx")
    model.opset_import.add(domain="org.openvinotoolkit", version=1)
    onnx.save(model, tmp_path / "swish.onnx")
    _, output, found = conformance(tmp_path / "swish.onnx", tmp_path, runtimes="openvino")
    assert [row[1:3] for row in found.values()] == [["yes", "-"]], output
    assert "not compared" in output
    assert "passed" not in output


def test_weights_in_another_file_are_found_beside_the_model(tmp_path: Path) -> None:
    onnx.save(good(), tmp_path / "a.onnx", save_as_external_data=True, location="weights", size_threshold=100)
    code, output, found = conformance(tmp_path / "a.onnx", tmp_path, runtimes="onnxruntime,openvino,tract")
    assert code == 0, output
    assert {row[2] for row in found.values()} == {"yes"}


def test_a_name_in_a_file_cannot_control_the_terminal(tmp_path: Path) -> None:
    model = good()
    model.graph.node[1].name = model.graph.node[1].op_type = "a\x1b[2Jb"
    onnx.save(model, tmp_path / "evil.onnx")
    code, output, found = conformance(tmp_path / "evil.onnx", tmp_path, runtimes="onnxruntime,reference")
    assert code == 0  # nobody expects it to load
    assert [row[:2] for row in found.values()] == [["no", "no"]] * 2
    assert "neither ONNX Runtime nor the reference evaluator runs it" in output
    assert "\x1b" not in output


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(good(), tmp_path / "good.onnx")
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "good.onnx").read_bytes()[:-9])
    model = good()
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"
    onnx.save(model, tmp_path / "free.onnx")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    onnx.save(model, tmp_path / "bfloat16.onnx")
    file = tmp_path / "good.onnx"
    mistakes: dict[str, list[str | Path]] = {
        "expected no models of the catalogue beside it, found gap": ["gap", "--onnx", file],
        "expected sizes such as 1,2, found '1,x'": ["--onnx", file, "--batches", "1,x"],
        "--runtimes: expected some of onnxruntime, ": ["--onnx", file, "--runtimes", "openvino-c++"],
        "cut.onnx: expected an ONNX model": ["--onnx", tmp_path / "cut.onnx"],
        "expected an ONNX file, found a folder": ["--onnx", tmp_path],
        "expected an ONNX file, found no plain file": ["--onnx", "/dev/zero"],
        "the model has no input 'sr'": ["--onnx", file, "--input", "sr=16000"],
        "free.onnx: input 'image' has shape [batch, 1, 8, width]: give it with --size width=": [
            *("--onnx", tmp_path / "free.onnx")
        ],
        "bfloat16.onnx: input 'image': expected a type of numpy, found": ["--onnx", tmp_path / "bfloat16.onnx"],
        "expected --onnx FILE with them": ["--shape", "a=1"],
        "--size widht: no input has a dimension of that name; the named ones are: batch, width": [
            *("--onnx", tmp_path / "free.onnx", "--size", "widht=8")
        ],
    }
    for message, words in mistakes.items():
        with pytest.raises(StudyError) as raised:
            command.main([str(word) for word in (*words, "--artifacts", tmp_path)])
        assert message in str(raised.value)
    assert not capsys.readouterr().out


def test_an_exported_module_is_run_by_its_name_with_the_inputs_of_its_proof(tmp_path: Path) -> None:
    """Without the range of the ids and the size of the sequence there would be no inputs."""
    files = write_module(
        Artifacts(tmp_path), "mine", {}, inputs=("ids=int64[batch,sequence]:0..9",), sizes={"sequence": 3}
    )
    saved(
        files.onnx,
        [helper.make_node("Gather", ["table", "ids"], ["rows"])],
        {"ids": [TensorProto.INT64, ["batch", "sequence"]]},
        {"rows": [TensorProto.FLOAT, ["batch", "sequence", 4]]},
        table=np.arange(40, dtype=np.float32).reshape(10, 4),
    )
    write_record(
        files.record, structs.replace(read_record(files.record, ModuleRecord, ""), onnx_sha256=sha256(files.onnx))
    )
    result = run("export", "conformance", "mine", "--artifacts", tmp_path, "--runtimes", "onnxruntime,reference")
    assert result.returncode == 0, result.stderr
    assert {row[1] for row in rows(result.stdout).values()} == {"yes"}
