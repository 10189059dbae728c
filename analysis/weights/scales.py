"""The scale of a MatMulInteger's weight: the constants that its result is multiplied with later on.

A quantiser writes y = float(integers + bias) * (scale of A * scale of B). The two scales are one constant, or two
products, or that of A is computed from x, and any part may be in a function. Values are therefore traced in the order
of the walk, like constants: `Scope.traced` has the factors of those that are products.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from analysis.weights.constants import Scope, standard
from analysis.weights.node import Node
from analysis.weights.quantisation import Scale
from analysis.weights.resolving import array, resolve
from analysis.weights.shapes import Shape
from analysis.weights.tensors import UnreadableError
from analysis.weights.values import Known

MOST = 16
"""Factors of a value, and values that one result leads to; a quantiser writes two and one."""
ACTIVATIONS = (
    *("Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "LogSoftmax", "Mish", "PRelu", "Relu"),
    *("Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh"),
)
NEXT = ("Conv", "Gemm", "LayerNormalization", "MatMul", "MatMulInteger", "QuantizeLinear", "DynamicQuantizeLinear")
ENDS = (*ACTIVATIONS, *NEXT, "Shape", "Size")
"""Operators behind which a factor is no part of the layer's scale: its activation, or the next layer."""


@dataclass(frozen=True, eq=False)
class Computed:
    """A factor that is computed from the model's inputs, and how to infer its shape."""

    shape: Callable[[], Shape | None] = lambda: None


Factor = Known | Computed


@dataclass(eq=False)
class Integers:
    """The result of a MatMulInteger: the factors of the scale of its computed operand, and the values it leads to.

    `elsewhere` has an item if any of them is taken by an operator that may scale it in a way that is not followed: True
    if it had been multiplied with constants, False if not.
    """

    step: tuple[Factor, ...]
    ends: "list[Traced]" = field(default_factory=list)
    elsewhere: set[bool] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class Traced:
    """A value that is a product of these factors and perhaps of the result of a MatMulInteger.

    Of a value that was quantised, `step` are the factors of its scale. One behind a bias is `biased` if constants came
    before, which are then taken for all of its scale.
    """

    factors: tuple[Factor, ...]
    integers: Integers | None = None
    step: tuple[Factor, ...] = ()
    biased: bool = False

    @property
    def others(self) -> list[Factor]:
        """The factors without the scale of the computed operand, if all of it is among them."""
        return [*self.factors] if self.rest is None else self.rest

    @property
    def rest(self) -> list[Factor] | None:
        """As `others`; None if that scale is not known, or not all of it among the factors."""
        rest, step = [*self.factors], self.integers.step if self.integers else ()
        for each in step:
            index = next((index for index, factor in enumerate(rest) if factor is each), None)
            if index is None:
                return None
            del rest[index]
        return rest if step else None


def _constants(factors: Iterable[Factor]) -> list[Known]:
    return [each for each in factors if not isinstance(each, Computed)]


def traced(node: Node, name: str) -> Traced:
    """The factors of a value that is visible to the node."""
    scope = node.scope.of(name)
    if name not in scope.traced:
        known = scope.known(name)
        scope.traced[name] = Traced((Computed(partial(node.inferred, name)) if known is None else known,))
    found: Traced = scope.traced[name]
    return found


def follow(node: Node) -> None:
    """Trace the results of a node, after those of all nodes before it."""
    inputs, outputs = node.proto.input, node.proto.output
    if not inputs or not outputs or node.scope.known(outputs[0]) is not None:
        return
    result = _followed(node) if standard(node.proto) else None
    if result is not None:
        node.scope.traced[outputs[0]] = result
    elif not (standard(node.proto) and node.operator in ENDS):
        _taken(node.scope.of(name).traced.get(name) for name in inputs)


def _taken(values: Iterable[Traced | None]) -> None:
    """Note that these are taken by what is not followed."""
    for value in values:
        if value is not None and value.integers:
            value.integers.elsewhere.add(bool(_constants(value.others)))


def _followed(node: Node) -> Traced | None:
    """The first result of a node; None if what it is made of is not followed."""
    operator, inputs, outputs = node.operator, node.proto.input, node.proto.output
    result = None
    if operator == "MatMulInteger":
        computed = [name for name in inputs[:2] if node.scope.known(name) is None]
        integers = Integers(traced(node, computed[0]).step if len(computed) == 1 else ())
        result = Traced((), integers)
        integers.ends.append(result)
    elif operator == "DynamicQuantizeLinear" and len(outputs) > 1:
        step = Traced((Computed(lambda: ()),))
        node.scope.traced[outputs[1]] = step
        result = Traced((Computed(),), step=step.factors)
    elif operator == "QuantizeLinear" and len(inputs) > 1:
        result = Traced((Computed(),), step=traced(node, inputs[1]).factors)
    elif operator == "DequantizeLinear" and len(inputs) > 1 and traced(node, inputs[0]).integers:
        shape, axis = node.inferred(inputs[0]), node.whole("axis", 1)
        if axis == -1 or (shape is not None and axis == len(shape) - 1):  # one scale for each output
            result = _product(traced(node, inputs[0]), traced(node, inputs[1]))
    elif operator in ("Identity", "Cast"):
        result = traced(node, inputs[0])
    elif operator in ("Add", "Sub") and len(inputs) == 2:  # a bias, unless the scale is behind
        sums = [each for name in inputs if (each := traced(node, name)).integers]
        if len(sums) == 1:
            result = replace(sums[0], biased=True) if _constants(sums[0].others) else sums[0]
    elif operator == "Mul" and len(inputs) == 2:
        result = _product(*(traced(node, name) for name in inputs))
    return result


def _product(left: Traced, right: Traced) -> Traced | None:
    """The product of two values; None if it is more than the scaling of the integers in one of them."""
    if (left.integers and right.integers) or left.biased or right.biased:
        return None
    factors = (*left.factors, *right.factors)
    factors = factors if len(factors) <= MOST else (Computed(),)
    sums, by = (left, right) if left.integers else (right, left)
    if sums.integers is None:
        return Traced(factors)
    # by identity, because equal constants may be the scales of different values
    scale = _constants(by.factors) or any(each is factor for each in by.factors for factor in sums.integers.step)
    if _constants(sums.others) and (sums.rest is not None or not scale):  # the scale is complete: a gate or the like
        return None
    ends = sums.integers.ends
    result = Traced(factors, sums.integers)
    if sums in ends:  # which are compared by identity
        ends.remove(sums)
    if len(ends) <= MOST:
        ends.append(result)
    return result


def enter(call: Node, function: onnx.FunctionProto, inner: Scope) -> None:
    """Trace the arguments of a call inside of its function."""
    pairs = zip(function.input, call.proto.input, strict=False)
    inner.traced.update({name: traced(call, value) for name, value in pairs if value})


def leave(call: Node, function: onnx.FunctionProto, inner: Scope) -> None:
    """Trace the results of a call outside of its function."""
    pairs = zip(function.output, call.proto.output, strict=False)
    call.scope.traced.update({value: inner.traced[name] for name, value in pairs if value and name in inner.traced})


def leave_body(graph: onnx.GraphProto, inner: Scope) -> None:
    """The results of a body of control flow are not followed outside of it."""
    _taken(inner.traced.get(value.name) for value in graph.output)


@dataclass(frozen=True)
class OutputScale:
    """A scale, [1 or outputs]: how far it is known, and the constants that it is the product of."""

    known: Scale = Scale.UNKNOWN
    array: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))
    constants: tuple[Known, ...] = ()


def scale_behind(node: Node, operand: int, outputs: int) -> OutputScale:
    """The scale of the weight of a MatMulInteger, its input `operand`, once all of the model has been traced."""
    value = node.scope.traced.get(node.proto.output[0])
    integers = value.integers if value else None
    if integers is None or len(integers.ends) > MOST or False in integers.elsewhere:
        return OutputScale()
    scales = [_scale(node, each, operand, outputs) for each in integers.ends]
    first = scales[0] if scales else OutputScale()
    same = all(each.known == first.known and np.array_equal(each.array, first.array) for each in scales)
    return first if same else OutputScale()


def _scale(node: Node, end: Traced, operand: int, outputs: int) -> OutputScale:
    """That which a value is multiplied with along the axis of its outputs."""
    opened, product, constants = node.scope.opened, np.ones(1), []
    axis, weight = -1 if operand else -2, node.scope.constant(node.input(operand), once=True)
    stack = weight is not None and weight.shape[axis] != outputs
    known = Scale.RELATIVE if end.rest is None else Scale.KNOWN
    for factor in end.others:
        try:
            values = None if isinstance(factor, Computed) else array(opened, resolve(opened, factor, "factor"))
        except UnreadableError:
            return OutputScale()
        shape = factor.shape() if isinstance(factor, Computed) else None if values is None else values.shape
        if shape is None:
            return OutputScale()
        along = shape[axis] if len(shape) >= -axis else 1
        if values is not None and (values.size == 1 or values.size == along == outputs):
            product = product * values.reshape(-1).astype(np.float64)
            constants.append(factor)
        elif along == 1 and not (stack and any(size != 1 for size in shape[:-2])):  # one for each row of x, or each x
            known = Scale.RELATIVE
        else:
            return OutputScale()
    if end.rest is None and product.size == 1 and end.integers and end.integers.elsewhere:
        return OutputScale()  # what was found may be the scale of x, and that of each output be behind
    return OutputScale(known, product.astype(np.float32), tuple(_constants(constants))) if constants else OutputScale()
