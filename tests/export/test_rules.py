"""The rules of a portable file: each is broken by hand in a file that keeps all others, and is reported alone."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.portable import remedies
from export.portable.engines import EVERYWHERE, Affected
from export.portable.expectations import expected
from export.portable.rules import RULES, violations
from tests.support.rules import (
    ALSO,
    BREAKS,
    applied,
    broken,
    conditional,
    foreign,
    good,
    insert,
    node,
    other_domain,
    value,
)


def test_a_good_file_breaks_none() -> None:
    assert violations(good().SerializeToString()) == []


def test_each_rule_is_reported_where_it_is_broken_and_no_other() -> None:
    assert list(BREAKS) == list(RULES)
    for rule, changes in BREAKS.items():
        for name, change in changes.items():
            model = good()
            change(model)
            assert set(broken(model)) == {rule} | ALSO.get(name, set()), name


def test_an_operator_that_a_runtime_lacks_is_reported_in_foreign_files_alone() -> None:
    model = good()
    insert(model, node("Trilu", ["features"], ["inserted"]))
    assert broken(model) == []
    (violation,) = (each for each in foreign(model) if each.rule == "R14")
    assert violation.description == "operator Trilu"
    assert violation.affects.breaks == {"opencv-4"}
    conditional(model := good())
    (violation,) = (each for each in foreign(model) if each.rule == "R14")
    assert violation.affects.breaks == {"opencv-4", "opencv-5", "ncnn"}  # in If


def test_an_element_type_that_was_not_tried_is_not_known_and_one_that_is_lacking_breaks() -> None:
    """Tried with sums, matrix products, casts and stored tensors of each type."""
    strings = {"openvino", "opencv-4", "opencv-5", "tract", "ncnn"}
    floats = {"onnxruntime", "onnxruntime-1.15", "onnxruntime-1.16", "reference", "openvino"}
    for number, breaks, loads in (
        (TensorProto.FLOAT, set(), EVERYWHERE.breaks),
        (TensorProto.INT64, set(), EVERYWHERE.breaks),
        (TensorProto.DOUBLE, set(), floats),
        (TensorProto.FLOAT16, set(), floats),
        (TensorProto.BFLOAT16, {"tract"}, set()),
        (TensorProto.STRING, strings, floats - {"openvino"}),
    ):
        graph = helper.make_graph([node("Cast", ["x"], ["y"], to=number)], "g", [], [value("y", number, ["n", 2])])
        graph.input.append(value("x", TensorProto.FLOAT, ["n", 2]))
        found = foreign(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
        assert {name for each in found for name in each.affects.breaks} == breaks, number
        table = expected(found)
        assert {name for name in EVERYWHERE.breaks - {"ncnn"} if table[name].loads == "yes"} == loads - {"ncnn"}, number


def test_a_product_of_integers_or_of_a_vector_is_not_expected_of_opencv() -> None:
    for number, shape, breaks, perhaps in (
        (TensorProto.INT32, [3, 2], set(), {"opencv-4", "opencv-5", "tract"}),
        (TensorProto.FLOAT, [3], {"opencv-4", "opencv-5"}, set()),
    ):
        inputs = [value("x", number, ["n", 3]), value("w", number, shape)]
        graph = helper.make_graph([node("MatMul", ["x", "w"], ["y"])], "g", inputs, [value("y", number, None)])
        found = foreign(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
        (violation,) = (each for each in found if each.rule == "R15")
        assert violation.affects == Affected(frozenset(breaks), frozenset(perhaps))


def loads(model: ModelProto) -> dict[str, str]:
    return {name: row.loads for name, row in expected(foreign(model)).items() if row.loads != "yes" and name != "ncnn"}


def test_a_free_batch_is_not_known_to_run_where_an_operator_may_move_it() -> None:
    """Tried: attention and recurrence at batch 2 fail in OpenCV 4 and tract, and run in both once the batch is set."""
    assert loads(good()) == {}
    moving = [node("Transpose", ["centred"], ["turned"], perm=[1, 0, 2, 3]), node("Relu", ["turned"], ["image_2"])]
    model = good()
    del model.graph.node[1:]
    model.graph.node.extend([*moving, node("Transpose", ["image_2"], ["probabilities"], perm=[1, 0, 2, 3])])
    model.graph.output[0].CopyFrom(value("probabilities", TensorProto.FLOAT, ["batch", 1, 8, 8]))
    assert loads(model) == {"opencv-4": "not known", "tract": "not known"}
    exec(remedies.ONE_BATCH.code, {"model": model})  # noqa: S102
    assert loads(model) == {}
    assert [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim] == [1, 1, 8, 8]


def test_a_boolean_input_is_refused_by_opencv_4_and_a_gelu_of_erf_may_crash_both() -> None:
    graph = helper.make_graph(
        [node("Cast", ["x"], ["y"], to=TensorProto.FLOAT), node("Erf", ["y"], ["z"])],
        "g",
        [value("x", TensorProto.BOOL, ["n", 2])],
        [value("z", TensorProto.FLOAT, ["n", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    assert loads(model) == {"opencv-4": "no", "opencv-5": "not known"}


def test_a_remedy_is_offered_where_it_fits() -> None:
    model = good()
    other_domain(model, "ai.onnx.ml")
    insert(model, node("Identity", ["features"], ["inserted"]))
    assert remedies.FOLDED in {each.remedy for each in foreign(model)}
    assert remedies.FOLD not in {each.remedy for each in foreign(model)}
    inputs = [value("x", TensorProto.FLOAT, [2, 0, "wide"]), value("shape", TensorProto.INT64, [3])]
    nodes = [node("Expand", ["x", "shape"], ["y"]), node("Add", ["x", "bias"], ["z"])]
    graph = helper.make_graph(nodes, "g", inputs, [value("z", TensorProto.FLOAT, [1, 2, 0, "wide"])])
    graph.initializer.append(numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "bias"))
    found = foreign(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    (wide,) = (each for each in found if each.rule == "R8")
    assert (wide.remedy, "(Add) broadcasts [2, 0, wide]" in wide.description) == (remedies.RANK, True)
    free = [each for each in found if "no fixed size" in each.description]
    assert [each.description for each in free] == ["'x' has no fixed size in axis 2", "'z' has no fixed size in axis 3"]
    assert free[0].remedy.code.startswith("sizes = {'wide': 224}  #")


def test_another_axis_than_the_first_of_an_input_is_no_batch() -> None:
    shapes = {n: numpy_helper.from_array(np.array(s), n) for n, s in (("turned", [7, 2, 4]), ("kept", [2, 28]))}
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node("Reshape", ["t", "flat"], ["f"])]
    nodes += [node("Reshape", ["f", "turned"], ["u"]), node("Reshape", ["u", "kept"], ["y"])]
    outputs = [value("y", TensorProto.FLOAT, [2, 28])]
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, [2, 7, 4])], outputs, list(shapes.values()))
    graph.initializer.append(numpy_helper.from_array(np.array([14, 4]), "flat"))
    found = foreign(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    texts = [each.description for each in found if each.rule == "R7"]
    assert texts == ["node 'y' (Reshape) has a fixed batch of 2 in its shape"]


def test_a_batch_that_goes_where_the_minus_one_is_is_not_fixed_and_the_remedy_changes_a_fixed_one_alone() -> None:
    """Attention brings the sequence to the front; a size of Python in view(2, -1) fixes the batch."""
    shapes = {"rows": [-1, 4], "sequence": [6, -1, 4], "batch": [2, -1]}
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node("Reshape", ["t", "rows"], ["r"])]
    nodes += [node("Reshape", ["r", "sequence"], ["s"]), node("Reshape", ["x", "batch"], ["y"])]
    constants = [numpy_helper.from_array(np.array(each), name) for name, each in shapes.items()]
    inputs, outputs = [value("x", TensorProto.FLOAT, ["n", 6, 4])], [value("y", TensorProto.FLOAT, ["n", 24])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    (violation,) = (each for each in foreign(model) if each.rule == "R7")
    assert violation.description == "node 'y' (Reshape) has a fixed batch of 2 in its shape"
    mended = applied(violation.remedy, model)
    found = {each.name: numpy_helper.to_array(each).tolist() for each in mended.graph.initializer}
    assert found == shapes | {"batch": [0, -1]}
    (output,) = ReferenceEvaluator(mended).run(["y"], {"x": np.ones((7, 6, 4), np.float32)})
    assert np.shape(output) == (7, 24)
    assert "R7" not in {each.rule for each in foreign(mended)}


def test_what_the_checker_alone_complains_of_breaks_no_runtime() -> None:
    model = good()
    model.ir_version = 3  # whose initializers have to be inputs; ONNX Runtime runs it
    (violation,) = violations(model.SerializeToString())
    assert violation.rule == "R10"
    assert violation.affects == Affected(perhaps=EVERYWHERE.breaks)
