"""What a violation of a rule breaks, and its remedy, which is applied to a file that breaks the rule."""

import contextlib
import io
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper

from export.portable import remedies
from export.portable.engines import EVERYWHERE
from export.portable.remedies import Remedy
from export.portable.rules import MOST, violations
from tests.support.bombs import BOMBS
from tests.support.rules import BREAKS, applied, broken, foreign, good, insert, node


def test_a_difference_from_the_form_breaks_nothing_and_a_fault_breaks_what_was_tried() -> None:
    """Each was tried in every runtime."""
    older = {"onnxruntime-1.15", "onnxruntime-1.16"}
    breaks: dict[str, set[str]] = {
        "weights in another file": {"opencv-4", "ncnn", "web-node"},
        "a function": {"openvino", "opencv-4", "opencv-5", "tract"},
        "a sparse weight": {"reference", "openvino", "opencv-4", "opencv-5", "tract", "ncnn"},
        "an operator of ONNX Runtime": {"reference", "opencv-4", "ncnn"},
    }
    everywhere = {
        "a sequence as output",
        "an operator of somebody's",
        "an operator of a later opset",
        "contradictory shapes",
        "no nodes",
    }
    for changes in BREAKS.values():
        for name, change in changes.items():
            model = good()
            change(model)
            found = {each for violation in violations(model.SerializeToString()) for each in violation.affects.breaks}
            assert found == (EVERYWHERE.breaks if name in everywhere else breaks.get(name, set())), name
    for field, value, since in (("opset", 20, "1.17"), ("opset", 21, "1.18"), ("ir", 10, "1.18")):
        model = good()
        if field == "ir":
            model.ir_version = value
        else:
            model.opset_import[0].version = value
        (violation,) = violations(model.SerializeToString())
        assert violation.affects.breaks == older, field
        assert violation.description.endswith(f"found {value}; ONNX Runtime reads it from {since} on")


def test_an_error_in_onnxs_own_definition_of_an_operator_is_no_fault_of_the_file() -> None:
    """onnx 1.23 cannot infer the shapes in that of MeanVarianceNormalization, which every runtime but OpenCV runs."""
    model = good()
    insert(model, node("MeanVarianceNormalization", ["features"], ["inserted"], axes=[1]))
    for violation in foreign(model):
        assert violation.affects.breaks <= {"opencv-4", "opencv-5"}, violation


def test_a_classifiers_map_of_probabilities_is_read_in_python_alone() -> None:
    probabilities = helper.make_tensor_sequence_value_info("maps", TensorProto.FLOAT, None)
    kind = onnx.TypeProto()
    kind.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    probabilities.type.CopyFrom(kind)
    model = good()
    model.graph.node.append(
        node("ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    )
    model.opset_import.add(domain="ai.onnx.ml", version=1)
    model.graph.output[0].CopyFrom(probabilities)
    found = {violation.description: violation.affects for violation in foreign(model)}
    everywhere_else = EVERYWHERE.breaks - {"onnxruntime", "onnxruntime-1.15", "onnxruntime-1.16", "reference"}
    assert found["'maps' is no tensor but a sequence"].breaks == everywhere_else


HARD = {"a graph in a node", "a computed shape", "an operator of a later opset"}
"""Changes for which only a different export helps."""


def test_each_remedy_helps() -> None:
    used = set()
    for changes in BREAKS.values():
        for name, change in changes.items():
            model = good()
            change(model)
            (violation, *_) = violations(model.SerializeToString())
            assert violation.remedy.code or violation.remedy.advice
            used.add(violation.remedy)
            if not violation.remedy.code or name in HARD or violation.remedy == remedies.INLINE:
                continue
            mended = applied(violation.remedy, model)
            assert violation not in violations(mended.SerializeToString()), name
            onnx.checker.check_model(mended, full_check=True)
    known = {each for each in vars(remedies).values() if isinstance(each, Remedy) and each.code}
    assert known - used == {remedies.IMPORT, remedies.ONE_BATCH}


def test_loading_and_saving_brings_the_weights_inside(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(good(), path, save_as_external_data=True, location="weights", size_threshold=0)
    assert [each.rule for each in violations(path.read_bytes())][:1] == ["R1"]
    exec(remedies.INLINE.code, {"onnx": onnx, "FILE": path})  # noqa: S102
    (tmp_path / "weights").unlink()
    assert violations(path.read_bytes()) == []


def test_a_file_without_the_default_domain_can_be_mended() -> None:
    model = good()
    del model.opset_import[:]
    violation = violations(model.SerializeToString())[0]
    assert (violation.rule, violation.description) == ("R2", "expected an opset of ai.onnx, found none")
    assert violations(applied(violation.remedy, model).SerializeToString()) == []


def test_the_exporters_options_help(tmp_path: Path) -> None:
    """Those of torch.onnx.export in the remedies."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 3)).eval()
    example, path = torch.zeros(2, 1, 8, 8), tmp_path / "model.onnx"

    def rules(**options: Any) -> set[str]:
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(network, (example,), path, **options)
        return {violation.rule for violation in violations(path.read_bytes())}

    inside: dict[str, Any] = {"external_data": False}
    batch: dict[str, Any] = {"dynamic_shapes": {"input": {0: torch.export.Dim("batch")}}}
    assert {"R1", "R4"} <= rules()
    assert rules(**inside, **batch, opset_version=18).isdisjoint({"R1", "R2", "R4"})
    assert "R5" in rules(dynamo=False, keep_initializers_as_inputs=True)
    assert "R5" not in rules(dynamo=False, keep_initializers_as_inputs=False)


def test_a_newer_opset_may_need_a_newer_ir_version() -> None:
    model = good()
    model.opset_import[0].version = 22
    model.ir_version = 10
    assert broken(model, 22) == []
    model.ir_version = 11
    assert broken(model, 22) == ["R3"]
    model.ir_version = 10
    assert broken(model) == ["R2", "R3"]


def test_a_node_is_named_in_ascii_without_control_characters() -> None:
    model = good()
    model.graph.node[6].name = "\x1b[2J\n\u00fc" + "x" * 1000
    model.graph.node[6].doc_string = "mine"
    (violation,) = violations(model.SerializeToString())
    assert violation.description == rf"node '\x1b[2J\n\xfc{'x' * 54}...' (Pow) has a doc string"


def test_of_many_violations_the_first_are_described_and_the_others_counted() -> None:
    model = good()
    for each in model.graph.node:
        each.doc_string = "mine"
    found = violations(model.SerializeToString())
    assert len(found) == MOST + 1
    assert found[-1].description == f"and {len(model.graph.node) - MOST} more"


def test_a_bomb_is_refused_and_does_no_harm() -> None:
    """All of tests/support/bombs.py were tried; the slowest takes five seconds."""
    for name in (
        *("Split in many", "ConstantOfShape", "a function that calls itself", "a graph that refers to itself"),
        *("functions that call twice", "six million fields unknown to ONNX", "graphs in graphs, 33 levels"),
        *("a location of 2 MB", "a convolution behind a shape of 2^40 axes", "chain of 20,000 Neg"),
        "200,000 dimensions",
    ):
        assert violations(BOMBS[name]()), name


def test_bytes_that_are_not_a_model_break_r13_alone() -> None:
    content = good().SerializeToString()
    for text in (b"/conv/Sub", b"kernel_shape", b"classes", b"weight", b"batch", b"Softmax"):
        assert text in content
        spoilt = content.replace(text, text[:-1] + b"\xff")  # not UTF-8
        assert [violation.rule for violation in violations(spoilt)] == ["R13"], text
    for cut in (b"hello", content[:-9]):
        assert [violation.rule for violation in violations(cut)] == ["R13"]
