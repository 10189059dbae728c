"""A layer's input and its product made visible: nodes and outputs added to a model in memory, nothing in it changed.

Beside the layer's node comes a copy of it without what is not linear: bias, activation, requantisation. The input x and
the output y of that copy leave the model as float64, whatever they were, through every body on their way.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from analysis.weights.layers import Layer
from study.onnx_graph import Body, opsets

Attributes = dict[str, onnx.AttributeProto]

CONTRIB = "com.microsoft"
MARK = "_verified_weight_"
"""All names that are added begin with it. ONNX Runtime refuses the copy of a model that has such names already."""
PRODUCTS = {
    "Gemm": ("", "Gemm", 3),
    "FusedGemm": ("", "Gemm", 3),
    "MatMul": ("", "MatMul", 2),
    "FusedMatMul": (CONTRIB, "FusedMatMul", 2),
    "TransposeMatMul": (CONTRIB, "FusedMatMul", 2),
    "Conv": ("", "Conv", 2),
    "FusedConv": ("", "Conv", 2),
    "MatMulInteger": ("", "MatMulInteger", 4),
    "QGemm": (CONTRIB, "QGemm", 6),
    "QLinearMatMul": (CONTRIB, "MatMulIntegerToFloat", 6),
    "MatMulIntegerToFloat": (CONTRIB, "MatMulIntegerToFloat", 6),
    "DynamicQuantizeMatMul": (CONTRIB, "DynamicQuantizeMatMul", 4),
    "MatMulNBits": (CONTRIB, "MatMulNBits", 5),
    "LinearClassifier": ("ai.onnx.ml", "LinearClassifier", 1),
    "LinearRegressor": ("ai.onnx.ml", "LinearRegressor", 1),
}
"""The copy of each operator: domain, operator, inputs that it keeps. What comes after those is bias or output scale."""
REORDERED = {"QLinearMatMul": (0, 3, 1, 4, 2, 5)}
"""Which of the node's inputs those of the copy are, where they come in another order."""
NONE = 2**31
"""The index of an input that no node has."""
NUMBERS = {
    "MatMulInteger": {1: (0, NONE, 2), 0: (1, NONE, 3)},
    "QGemm": {3: (0, 1, 2), 0: (3, 4, 5)},
    "QLinearMatMul": {3: (0, 1, 2), 0: (3, 4, 5)},
    "MatMulIntegerToFloat": {1: (0, 2, 4), 0: (1, 3, 5)},
}
"""By the weight's operand: which of the node's inputs number, scale, zero point of x = (number - zero) * scale are."""
BODIES = (("If", "then_branch"), ("If", "else_branch"), ("Loop", "body"), ("Scan", "body"))
"""Operators, and their attributes with graphs whose outputs are theirs."""


class NotExposableError(Exception):
    """The layer cannot be made visible, for this reason."""


@dataclass(frozen=True)
class Probe:
    """Where the values of one layer leave the model, and how they lie.

    `x` and `y` are names of outputs; the first `stacked` dimensions of both are iterations of loops. Where `swapped`,
    the last two dimensions change places before the last one is the layer's in or out. `strides` are a Conv's.
    """

    x: str
    y: str
    stacked: int
    x_swapped: bool
    y_swapped: bool
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Level:
    """One step of a layer's place: how the body is entered, the body, the node in it, and the node's attributes."""

    word: str
    body: Body
    node: onnx.NodeProto
    attributes: Attributes


def expose(model: onnx.ModelProto, layer: Layer, number: int) -> Probe:
    """Add the two outputs of a layer to the model, under names with `number` in them.

    Raises:
        NotExposableError: the node is not where the layer says, or lies in a body that is no branch, loop or function.
    """
    levels = list(_levels(model, layer))
    innermost = levels[-1]
    if innermost.node.op_type != layer.operator or layer.operator not in PRODUCTS:
        raise NotExposableError(f"expected {layer.operator} where the layer is, found {innermost.node.op_type}")
    for body in (model, *(level.body for level in levels)):
        if not isinstance(body, onnx.GraphProto):
            _import(body, model)
    names = _add_input(innermost, layer, f"{MARK}{number}_x"), _add_product(innermost, layer, f"{MARK}{number}_y")
    for inner, outer in zip(levels[:0:-1], levels[-2::-1], strict=True):
        names = _leave(inner, outer, names[0]), _leave(inner, outer, names[1])
    for name in names:
        model.graph.output.append(_double(name))
    attributes = innermost.attributes
    left = layer.operand == 0
    transposed = attributes.get("transB" if left else "transA")
    return Probe(
        *names,
        stacked=sum(level.word == "body" for level in levels),
        x_swapped=left != (transposed is not None and bool(transposed.i)),
        y_swapped=left,
        strides=tuple(attributes["strides"].ints) if "strides" in attributes else (),
    )


def _levels(model: onnx.ModelProto, layer: Layer) -> Iterator[_Level]:
    body: Body = model.graph
    outside: Attributes = {}  # what a function's attributes stand for in the call that leads to the layer
    node = None
    for word, index in layer.place:
        if node is not None and word == "function":
            function = _own_function(model, node)
            outside = {each.name: each for each in function.attribute_proto} | _attributes(node, outside)
            body = function
        elif node is not None:
            if (node.op_type, word) not in BODIES:
                raise NotExposableError(f"it is inside {node.op_type}, and no value can be led out of that")
            body = _attributes(node, outside)[word].g
        node = body.node[index]
        yield _Level(word, body, node, _attributes(node, outside))


def _attributes(node: onnx.NodeProto, outside: Attributes) -> Attributes:
    """A node's attributes by name; those that refer to one of the function around it are that one, if it is given."""
    own = {each.name: outside.get(each.ref_attr_name) if each.ref_attr_name else each for each in node.attribute}
    return {name: each for name, each in own.items() if each is not None}


def _own_function(model: onnx.ModelProto, call: onnx.NodeProto) -> onnx.FunctionProto:
    """The function that this node calls, after it is made one that no other node does, with outputs of its own."""
    key = (call.domain, call.op_type, call.overload)
    original: onnx.FunctionProto
    for original in model.functions:
        if (original.domain, original.name, original.overload) == key:
            break
    else:
        raise NotExposableError(f"the model has no function {call.op_type}")
    if call.op_type.startswith(MARK):
        return original
    function: onnx.FunctionProto = model.functions.add()
    function.CopyFrom(original)
    function.name = call.op_type = f"{MARK}{len(model.functions)}_{call.op_type}"
    call.output.extend([""] * (len(function.output) - len(call.output)))
    return function


def _import(body: onnx.ModelProto | onnx.FunctionProto, model: onnx.ModelProto) -> None:
    known = opsets(body.opset_import)
    for domain, version in (("", opsets(model.opset_import).get("", 13)), (CONTRIB, 1)):
        if domain not in known:
            body.opset_import.append(helper.make_opsetid(domain, version))


def _add_input(level: _Level, layer: Layer, name: str) -> str:
    """Add nodes that compute x, dequantised; the name of that value, which is `name`."""
    body, node = level.body, level.node

    def add(operator: str, *inputs: str, outputs: int = 1) -> list[str]:
        names = [f"{name}_{len(body.node)}_{index}" for index in range(outputs)]
        body.node.append(helper.make_node(operator, inputs, names))
        return names

    def as_double(value: str, called: str = "") -> str:
        called = called or f"{name}_{len(body.node)}"
        body.node.append(helper.make_node("Cast", [value], [called], to=TensorProto.DOUBLE))
        return called

    def operand(index: int) -> str:
        return node.input[index] if index < len(node.input) else ""

    scale = zero = ""
    if layer.operator == "DynamicQuantizeMatMul":  # which does this to its input first
        number, scale, zero = add("DynamicQuantizeLinear", node.input[0], outputs=3)
    elif layer.operator in NUMBERS:
        number, scale, zero = map(operand, NUMBERS[layer.operator][layer.operand])
    else:
        number = node.input[1 if layer.operand == 0 else 0]
    for operator, value in (("Sub", zero), ("Mul", scale)):
        if value:
            [number] = add(operator, as_double(number), as_double(value))
    return as_double(number, called=name)


def _add_product(level: _Level, layer: Layer, name: str) -> str:
    """Add the copy of the node that is linear in x; the name of its output as float64, which is `name`."""
    domain, operator, kept = PRODUCTS[layer.operator]
    node = level.node
    order = REORDERED.get(layer.operator, range(min(kept, len(node.input))))
    copy = helper.make_node(operator, [node.input[index] for index in order], [f"{name}_product"], domain=domain)
    left_out = ("activation", "accuracy_level")
    copy.attribute.extend(each for each in node.attribute if not each.name.startswith(left_out))
    if operator == "Gemm":  # whose bias is no option before opset 11
        del copy.attribute[:]
        copy.attribute.extend(each for each in node.attribute if each.name in ("alpha", "transA", "transB"))
        copy.attribute.append(helper.make_attribute("beta", 0.0))
    elif operator == "MatMulNBits":
        copy.attribute.append(helper.make_attribute("accuracy_level", 1))  # x in float32, not quantised
    elif domain == "ai.onnx.ml":
        del copy.attribute[:]
        for each in node.attribute:
            if each.name == "intercepts":  # not left away: their number is that of the classes
                copy.attribute.append(helper.make_attribute(each.name, [0.0] * len(each.floats)))
            elif each.name != "post_transform":
                copy.attribute.append(each)
    if operator == "LinearClassifier":  # its second output are the scores
        copy.output.insert(0, f"{name}_label")
    level.body.node.extend([copy, helper.make_node("Cast", copy.output[-1:], [name], to=TensorProto.DOUBLE)])
    return name


def _leave(inner: _Level, outer: _Level, name: str) -> str:
    """Make a value of the inner body an output of the node that the body is in or called by; its new name."""
    new = f"{name}_"  # a body may not use a name of the one around it
    if isinstance(inner.body, onnx.FunctionProto):
        inner.body.output.append(name)
        outer.node.output.append(new)
        return new
    inner.body.output.append(_double(name))
    outer.node.output.append(new)
    for attribute in outer.node.attribute:
        if inner.word != "body" and attribute.name in {"then_branch", "else_branch"} - {inner.word}:
            nothing = helper.make_tensor("", TensorProto.DOUBLE, [0], [])
            attribute.g.node.append(helper.make_node("Constant", [], [name], value=nothing))
            attribute.g.output.append(_double(name))
        if attribute.name in ("scan_output_axes", "scan_output_directions"):
            attribute.ints.append(0)
    return new


def _double(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.DOUBLE, None)
