"""Which values of a graph are constant, and what they are, worked out when they are needed.

A constant that passes through Identity, Cast, Reshape, Transpose or DequantizeLinear on its way to a product is still
read from its file. What other operators make of constants is computed (`analysis.weights.constant_folding`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from analysis.weights.constant_folding import COMPUTED, Attributes, evaluated, plain_node, sizes
from analysis.weights.matrix import Matrix, Quantisation, linear
from analysis.weights.tensors import MOST_AXES, Held, Opened, Source, UnreadableError, shape_of
from study.onnx_graph import STANDARD, has_subgraph

NARROW = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
FLOATS = (*NARROW, np.dtype(np.float32), np.dtype(np.float64))
RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class Literal:
    """A tensor as it is in the file; `key`, its body and name, identifies it there."""

    tensor: onnx.TensorProto | onnx.SparseTensorProto
    key: object


@dataclass(frozen=True)
class Constant:
    """An array of this `shape`: the numbers of `source` in their order, or as a matrix `transposed`, dequantised.

    `quantisation` refers to the stored matrix of shape[0] rows, before it is transposed. `cast` is the type in the
    graph, unless that is the stored one, and `rounded` one that the values were rounded to on the way. `behind` are the
    operators between the tensor called `tensor` and here, `names` the names of the value on the way, and `literal` is
    the key of that tensor.
    """

    source: Source
    shape: tuple[int, ...]
    tensor: str
    transposed: bool = False
    quantisation: Quantisation | None = None
    cast: np.dtype[Any] | None = None
    rounded: np.dtype[Any] | None = None
    behind: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    literal: object = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type in the graph."""
        return self.source.dtype if self.cast is None else self.cast

    def matrix(self, *, transposed: bool = False, alpha: float = 1.0) -> Matrix:
        """This constant of rank 2 as a weight; it is (out, in), or (in, out) if `transposed`."""
        rows, columns = self.shape[::-1] if self.transposed else self.shape
        flipped = transposed != self.transposed
        return Matrix(self.source, rows, columns, columns, flipped, self.quantisation, alpha, self.rounded)


@dataclass
class Pending:
    """A node all of whose inputs are constant, in the body of `scope`; `results` are computed when first needed."""

    scope: "Scope"
    node: onnx.NodeProto
    attributes: Mapping[str, onnx.AttributeProto]
    inputs: Sequence["Known | None"]
    results: dict[str, Constant] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Output:
    """An output of such a node, by its name there; the caller of a function has another name for it."""

    pending: Pending
    name: str


@dataclass(frozen=True)
class Opaque:
    """A constant that cannot be read, and why."""

    reason: str


Known = Constant | Literal | Output | Opaque


@dataclass(frozen=True)
class Picked:
    """A computed value that the operator `by` picks from constants; a part of `data` along its first axis, if known.

    `name` is that of `data`. `moves` are applied to the part: the order of the axes that a Transpose gives it, or the
    shape that a Reshape does.
    """

    by: str
    data: Known | None = None
    name: str = ""
    moves: tuple[Known | tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Repeated:
    """A constant `once` that Expand repeats; `whole` is the result, None if the number of times is computed."""

    once: Known
    whole: Known | None


Value = Known | Picked | Repeated | None


@dataclass
class Scope:
    """The constants of one body by name, and of the bodies around it; `key` identifies the body.

    A value that is computed from the model's inputs is None or picked, so that it hides a constant of its name outside.
    """

    opened: Opened
    opsets: Mapping[str, int]
    key: object = None
    outer: "Scope | None" = None
    values: dict[str, Value] = field(default_factory=dict)
    traced: dict[str, object] = field(default_factory=dict)
    """A `Traced` for each value computed from the model's inputs that scales another (`analysis.weights.scales`)."""

    @property
    def version(self) -> int:
        """Version of the standard operators here."""
        return self.opsets.get("", 1)

    def picked(self, name: str) -> Picked | None:
        """The value called `name` if it is picked from constants."""
        value = self.value(name)
        return value if isinstance(value, Picked) else None

    def value(self, name: str) -> Value:
        """What is known of the value called `name`; None if it is computed from the model's inputs."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        return None

    def known(self, name: str, once: bool = False) -> Known | None:
        """The constant called `name`, not yet worked out; None if it is computed from the model's inputs.

        With `once` it is, of a matrix that Expand repeats over a batch, that matrix, which a product multiplies with.
        """
        value = self.value(name)
        if isinstance(value, Repeated):
            shape = self._shape(value.once) if once else ()
            return value.once if len(shape) > 1 and min(shape[-2:]) > 1 else value.whole
        return None if isinstance(value, Picked) else value

    def add(self, node: onnx.NodeProto, attributes: Attributes) -> None:
        """Enter the outputs of `node`, constant or not."""
        if node.op_type == "Constant" and node.domain in STANDARD:
            passed = any(attribute.ref_attr_name for attribute in node.attribute)  # with each call of a function
            key = object() if passed else (self.key, *node.output)
            self.values.update(dict.fromkeys(node.output[:1], self._constant(attributes, key)))
            return
        self._enter(node, attributes)
        first = self.value(node.input[0]) if node.input and node.output and node.domain in STANDARD else None
        once = self._once(node, attributes, first)
        if once is not None:
            self.values[node.output[0]] = Repeated(once, self.known(node.output[0]))

    def _enter(self, node: onnx.NodeProto, attributes: Attributes) -> None:
        inputs = [self.known(name) if name else None for name in node.input]
        computed = any(name and known is None for name, known in zip(node.input, inputs, strict=True))
        if computed or not node.input or has_subgraph(node):
            self.values.update(dict.fromkeys(node.output))  # which hides those of a body around this one
            return
        opaque = next((each for each in inputs if isinstance(each, Opaque)), None)
        if opaque is None and not (standard(node) and node.op_type in COMPUTED):
            opaque = Opaque(f"it is made from constants by {node.op_type}, which is not computed here")
        if opaque is not None:
            self.values.update({name: opaque for name in node.output if name})
            return
        pending = Pending(self, node, attributes, inputs)
        self.values.update({name: Output(pending, name) for name in node.output if name})

    def _once(self, node: onnx.NodeProto, attributes: Attributes, first: Value) -> Known | None:
        """What the node's result is, apart from a batch that it is repeated over, by its first input."""
        if node.op_type == "Expand" and not isinstance(first, Picked):
            return first.once if isinstance(first, Repeated) else first
        if not isinstance(first, Repeated):
            return None
        if node.op_type == "Transpose" and "perm" in attributes:  # whose axes are then fewer
            order, rank = list(attributes["perm"].ints[: MOST_AXES + 1]), len(self._shape(first.once))
            swapped = [*range(rank - 2), rank - 1, rank - 2]
            if rank < 2 or order != [*range(len(order) - 2), len(order) - 1, len(order) - 2]:
                return None
            attributes = {"perm": helper.make_attribute("perm", swapped)}
        elif node.op_type not in ("Identity", "Cast"):
            return None
        return Output(Pending(self, node, attributes, [first.once]), node.output[0])

    def _shape(self, known: Known) -> tuple[int, ...]:
        """The shape of a constant; () if it cannot be read."""
        try:
            return self._resolve(known, "").shape
        except UnreadableError:
            return ()

    def constant(self, name: str, once: bool = False) -> Constant | None:
        """The constant called `name`, None if there is none; `once` as for `known`.

        Raises:
            UnreadableError: there is one, but it cannot be read, or takes too much to compute.
            ValueError: it is malformed.
            StudyError: its numbers may not be read.
        """
        known, value = self.known(name, once), self.value(name)
        constant = None if known is None else self._resolve(known, name)
        if constant is not None and isinstance(value, Repeated) and known is value.once:
            return replace(constant, behind=(*constant.behind, "Expand"))
        return constant

    def array(self, name: str) -> NDArray[Any] | None:
        """The whole of a constant, such as scales or a shape; None if there is none. Raises as `constant`."""
        constant = self.constant(name) if name else None
        return None if constant is None else self._array(constant)

    def _resolve(self, known: Known, name: str) -> Constant:
        if isinstance(known, Constant):
            return known
        if isinstance(known, Opaque):
            raise UnreadableError(known.reason)
        if isinstance(known, Literal):
            return replace(self._stored(known, name), names=(name,), literal=known.key)
        pending = known.pending
        if pending.results is None and not pending.reason:
            try:
                pending.results = pending.scope._compute(pending)
            except UnreadableError as error:
                pending.reason = str(error)
        if pending.results is None or known.name not in pending.results:
            raise UnreadableError(pending.reason or f"{pending.node.op_type} does not make it")
        output = pending.results[known.name]
        return replace(output, names=(name, *output.names))

    def _constant(self, attributes: Attributes, key: object) -> Known:
        """The value of a Constant node, which has exactly one of these attributes."""
        for name, attribute in attributes.items():
            if name == "value":
                return Literal(attribute.t, key)
            if name == "sparse_value":
                return Literal(attribute.sparse_tensor, key)
            for kind, dtype in (("float", np.float32), ("int", np.int64)):
                if name == f"value_{kind}":
                    return _held(np.array(attribute.f if kind == "float" else attribute.i, dtype))
                if name == f"value_{kind}s":
                    numbers = attribute.floats if kind == "float" else attribute.ints
                    try:
                        self.opened.compute(len(numbers), "a Constant")
                    except UnreadableError as error:
                        return Opaque(str(error))
                    return _held(np.array(numbers, dtype))
        return Opaque("it is a Constant of strings, or of nothing")

    def _compute(self, pending: Pending) -> dict[str, Constant]:
        node = pending.node
        inputs = [
            None if known is None else self._resolve(known, name)
            for name, known in zip(node.input, pending.inputs, strict=True)
        ]
        passed = self._passed(node, pending.attributes, inputs) if inputs and inputs[0] is not None else None
        if passed is not None:
            return {node.output[0]: replace(passed, behind=(*passed.behind, node.op_type))}
        arrays = [None if constant is None else self._array(constant) for constant in inputs]
        results = evaluated(node, pending.attributes, arrays, self.version, self.opened)
        origins = [constant for constant in inputs if constant is not None and len(constant.shape) > 1] or inputs
        origin = next((constant for constant in origins if constant is not None), None)
        behind = (*(origin.behind if origin else ()), node.op_type)
        names, literal = (origin.names, origin.literal) if origin else ((), None)
        tensor = origin.tensor if origin else node.output[0]
        return {
            name: Constant(
                Held(array.reshape(-1), array.dtype), array.shape, tensor, behind=behind, names=names, literal=literal
            )
            for name, array in zip(node.output, results, strict=False)
            if name
        }

    def _passed(
        self, node: onnx.NodeProto, attributes: Attributes, inputs: Sequence[Constant | None]
    ) -> Constant | None:
        """The first input, where the operator only moves, casts or dequantises it; None if it has to be computed."""
        constant = inputs[0]
        assert constant is not None
        rank, quantised = len(constant.shape), constant.quantisation is not None
        if node.op_type == "Identity":
            return constant
        if node.op_type == "Dropout":
            mode = None if len(inputs) < 3 or inputs[2] is None else self._array(inputs[2])
            testing = self.version >= 7 or ("is_test" in attributes and attributes["is_test"].i)
            if not testing or (mode is not None and mode.any()):
                raise UnreadableError("it is made by Dropout as in training, which is random")
            return constant
        if node.op_type == "Cast":
            return _cast(constant, attributes)
        if node.op_type == "Transpose" and rank == 2:
            order = list(attributes["perm"].ints[:3]) if "perm" in attributes else [1, 0]
            if order == [0, 1]:
                return constant
            if order == [1, 0]:
                return replace(constant, shape=constant.shape[::-1], transposed=not constant.transposed)
        if node.op_type in RESHAPING and not constant.transposed:
            shape = self._reshaped(node, attributes, inputs)
            per_row = constant.quantisation is not None and constant.quantisation.scale.size > 1
            if shape is not None and not (per_row and (shape[:1] != constant.shape[:1] or shape[:1] == (1,))):
                return replace(constant, shape=shape)
        if node.op_type == "DequantizeLinear" and not quantised and rank > 0:
            scale = None if len(inputs) < 2 or inputs[1] is None else self._array(inputs[1])
            zero = None if len(inputs) < 3 or inputs[2] is None else self._array(inputs[2])
            if scale is not None:
                axis = attributes["axis"].i if "axis" in attributes else 1
                block = attributes["block_size"].i if "block_size" in attributes else 0
                quantisation = linear(constant.shape, scale, zero, axis, block)
                if quantisation is not None and constant.rounded is None:
                    stored = quantisation.transposed if constant.transposed else quantisation
                    given = attributes["output_dtype"].i if "output_dtype" in attributes else 0
                    target = helper.tensor_dtype_to_np_dtype(given) if given else scale.dtype
                    return replace(
                        constant, quantisation=stored, cast=target, rounded=target if target in NARROW else None
                    )
        return None

    def _reshaped(
        self, node: onnx.NodeProto, attributes: Attributes, inputs: Sequence[Constant | None]
    ) -> tuple[int, ...] | None:
        """The shape behind a node that changes nothing else; None if onnx cannot infer it."""
        arrays = [None, *(None if constant is None else self._array(constant) for constant in inputs[1:])]
        assert inputs[0] is not None
        plain = plain_node(node, attributes, self.opened)
        (shape,) = sizes(plain, arrays, self.version, {0: (inputs[0].shape, inputs[0].dtype)}) or [None]
        return shape if shape is not None and prod(shape) == prod(inputs[0].shape) else None

    def _array(self, constant: Constant) -> NDArray[Any]:
        size = prod(constant.shape)
        self.opened.compute(size, f"{constant.tensor!r} of shape {list(constant.shape)}")
        if constant.transposed or constant.quantisation is not None or constant.rounded is not None:
            rows = constant.shape[0] if constant.shape else 1
            shape = constant.shape if constant.transposed else (rows, size // rows if rows else 0)
            values = replace(constant, shape=shape).matrix().load()
        else:
            values = constant.source.read(0, size)
        return values.reshape(constant.shape).astype(constant.dtype, copy=False)

    def _stored(self, literal: Literal, name: str) -> Constant:
        if isinstance(literal.tensor, onnx.SparseTensorProto):
            return self._sparse(literal.tensor, literal.key, name)
        source = self.opened.source(literal.tensor, literal.key)
        return Constant(source, shape_of(literal.tensor), literal.tensor.name or name)

    def _sparse(self, tensor: onnx.SparseTensorProto, key: object, name: str) -> Constant:
        shape = shape_of(tensor)
        stored, places = (self.opened.source(part, (key, part.name)) for part in (tensor.values, tensor.indices))
        if not shape or places.dtype != np.int64:
            raise ValueError(f"sparse tensor {name!r} of shape {list(shape)} with places of type {places.dtype.name}")
        elements = prod(shape) + stored.size + places.size
        self.opened.compute(elements, f"the sparse tensor {name!r} of shape {list(shape)}")
        indices = places.read(0, places.size)
        if tensor.indices.dims[1:]:
            indices = np.ravel_multi_index(tuple(indices.reshape(tuple(tensor.indices.dims)).T), shape)
        if indices.size != stored.size:
            raise ValueError(f"sparse tensor {name!r} has {stored.size} values and {indices.size} places")
        if indices.size and (indices.min() < 0 or indices.max() >= prod(shape)):
            raise ValueError(f"sparse tensor {name!r} has values outside its shape {list(shape)}")
        values = stored.read(0, stored.size)
        dense = np.zeros(prod(shape), values.dtype)
        dense[indices] = values
        behind = ("a sparse tensor",)
        return Constant(Held(dense, stored.dtype, key), shape, tensor.values.name or name, behind=behind)


def standard(node: onnx.NodeProto) -> bool:
    """Whether the operator is ONNX's own; ONNX Runtime writes two of them, which it had first, in its domain."""
    quantises = node.op_type in ("QuantizeLinear", "DequantizeLinear")
    return node.domain in STANDARD or (quantises and node.domain == "com.microsoft")


def _held(array: NDArray[Any]) -> Constant:
    return Constant(Held(array.reshape(-1), array.dtype), array.shape, "")


def _cast(constant: Constant, attributes: Attributes) -> Constant | None:
    """The constant as another type of floats; None if that takes more than one rounding."""
    to = attributes["to"].i if "to" in attributes else onnx.TensorProto.UNDEFINED
    target = helper.tensor_dtype_to_np_dtype(to) if to != onnx.TensorProto.UNDEFINED else None
    if target is None or target == constant.dtype:
        return None if target is None else constant
    if target not in FLOATS:
        return None
    integer = constant.dtype.kind in "iu" or constant.dtype.name.startswith(("int", "uint"))
    if constant.dtype.itemsize <= (2 if integer else target.itemsize) and target not in NARROW:
        return replace(constant, cast=target)
    if constant.rounded is None and (constant.dtype.itemsize <= 2 if integer else constant.dtype in FLOATS):
        return replace(constant, cast=target, rounded=target)
    return None
