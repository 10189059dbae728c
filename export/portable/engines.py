"""Known limits of each runtime of docs/portability.md: what it does not load, or computes wrongly.

Everything here was tried with the versions of export/conformance/runtimes.py: opsets and IR versions with files that
differ in nothing else, operators with the node tests of onnx 1.19 (opset 24 and older), element types with a
transposition, a sum, a maximum, a matrix product, a cast and a stored tensor, a free batch with each operator of
`KEEPS_BATCH`. An operator is lacking where the runtime
says so; one that it has may still lack an attribute.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from export.conformance import runtimes
from export.conformance.runtimes import RUNTIMES

ONNX_RUNTIME = {
    (1, 15): (19, 9),
    (1, 17): (20, 9),
    (1, 18): (21, 10),
    (1, 21): (22, 10),
    (1, 23): (23, 11),
    (1, 24): (25, 13),
    (1, 25): (26, 13),
    (1, 32): (28, 14),
}
"""The newest opset and IR version that ONNX Runtime reads, from this version of it on."""
OLDEST = 7
"""The oldest opset that it documents."""

EXTERNAL, FUNCTIONS, SPARSE, BROADCASTS = "external-weights", "functions", "sparse-weights", "wide-broadcasts"
SIZES, BATCHES, COMPUTED, NOT_TENSORS = "free-sizes", "free-batch", "computed-shapes", "sequences-and-maps"
INTEGERS, VECTORS, BOOLEANS = "integer-products", "vector-products", "boolean-inputs"
MICROSOFT, ML = "com.microsoft", "ai.onnx.ml"
_RARE = "Bernoulli DeformConv ImageDecoder Optional OptionalGetElement OptionalHasElement SplitToSequence TensorScatter"
_RARE += f" TfIdfVectorizer {ML}.Binarizer {ML}.Scaler {ML}.TreeEnsemble {FUNCTIONS} {SPARSE} {NOT_TENSORS}"
"""Lacking in OpenVINO, OpenCV and tract."""
_OPENCV = "Col2Im Compress ConvInteger If LpPool MatMulInteger MeanVarianceNormalization MelWeightMatrix RNN Scan STFT"
_OPENCV += " ReverseSequence"
_OPENCV_4 = "AffineGrid BitwiseNot BlackmanWindow CastLike CenterCropPad DFT Det EyeLike GatherND GridSample Loop"
_OPENCV_4 += " HammingWindow HannWindow Hardmax IsInf IsNaN LpNormalization NegativeLogLikelihoodLoss NonMaxSuppression"
_OPENCV_4 += " NonZero OneHot RMSNormalization RoiAlign RotaryEmbedding Size SoftmaxCrossEntropyLoss Trilu Unique"
_TRACT = "AffineGrid CenterCropPad Col2Im Det Loop LpPool MaxUnpool NegativeLogLikelihoodLoss ReverseSequence RoiAlign"
_TRACT += " SequenceConstruct SoftmaxCrossEntropyLoss Unique Upsample"
_SMALL = "float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float8e8m0 float4e2m1 int4 uint4 int2 uint2"
"""Element types of 8 bits and less that NumPy lacks; files store weights in them."""
_KEEPS = "Abs Add AveragePool BatchNormalization Cast Celu Clip Concat Conv ConvTranspose DepthToSpace Div Elu Erf Exp"
_KEEPS += " Flatten Floor Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity InstanceNormalization LRN"
_KEEPS += " LayerNormalization LeakyRelu Log LogSoftmax MatMul Max MaxPool Min Mish Mul Neg PRelu Pad Pow Reciprocal"
_KEEPS += " ReduceMax ReduceMean ReduceSum Relu Round Selu Sigmoid Sign Softmax Softplus Softsign Sqrt Sub Tanh"
KEEPS_BATCH = frozenset(_KEEPS.split())
"""Operators with which every engine runs a file of any batch, where the batch is the first axis of two or more."""
TYPES = frozenset(("float", "int64", "int32", "uint8", "int8", "bool"))
"""Element types that files of the portable form and its variants have."""
_FLOATS = "float16 double string"


@dataclass(frozen=True)
class Engine:
    """The known limits of a runtime."""

    lacks: frozenset[str] = frozenset()
    """Operators, domains and the features above that it does not load, or computes wrongly."""
    partly: frozenset[str] = frozenset()
    """Domains and features that it supports in some models only; which ones is not known."""
    newest: tuple[int, int] | None = None
    """The newest opset and IR version that it reads; None if it looks at neither."""
    form: bool = False
    """Whether it is known to run only files of the portable form."""
    types: frozenset[str] = TYPES
    """Element types that were tried; of another one nothing is known, unless it is lacking."""


def _engine(*words: str, partly: Sequence[str] = (), version: str = "", form: bool = False, types: str = "") -> Engine:
    """`version` is that of the ONNX Runtime which the engine is or contains."""
    number = tuple(map(int, version.split(".")[:2])) if version else (0, 0)
    newest = [limits for since, limits in ONNX_RUNTIME.items() if since <= number]
    return Engine(
        frozenset(" ".join(words).split()),
        frozenset(partly),
        newest[-1] if newest else None,
        form,
        TYPES.union(types.split()),
    )


_VERSIONS = {runtime.name: runtime.version or "" for runtime in RUNTIMES}
ENGINES = {
    "onnxruntime": _engine("ImageDecoder", version=_VERSIONS["onnxruntime"], types=_FLOATS),
    "onnxruntime-1.16": _engine(partly=[MICROSOFT], version=_VERSIONS["onnxruntime-1.16"], types=_FLOATS),
    "onnxruntime-1.15": _engine(partly=[MICROSOFT], version=_VERSIONS["onnxruntime-1.15"], types=_FLOATS),
    "reference": _engine(MICROSOFT, SPARSE, partly=[ML], types=_FLOATS),
    "openvino": _engine(_RARE, "Det MaxUnpool MelWeightMatrix string", partly=[MICROSOFT, ML], types="float16 double"),
    "opencv-4": _engine(
        *(_RARE, EXTERNAL, MICROSOFT, ML, _OPENCV, _OPENCV_4, _SMALL, VECTORS, BOOLEANS, "string"),
        partly=[BROADCASTS, SIZES, BATCHES, COMPUTED, INTEGERS, "Erf", "LSTM", "GRU"],
    ),
    "opencv-5": _engine(
        *(_RARE, ML, _OPENCV, _SMALL, VECTORS, "DynamicQuantizeLinear string"),
        partly=[MICROSOFT, INTEGERS, "Erf", "Loop", "LSTM", "GRU"],
    ),
    "tract": _engine(_RARE, _TRACT, _SMALL, "bfloat16 string", partly=[SIZES, BATCHES, MICROSOFT, ML, INTEGERS]),
    "ncnn": _engine(EXTERNAL, SPARSE, NOT_TENSORS, MICROSOFT, ML, "If string", version="1.30", form=True),
    "node": _engine(NOT_TENSORS, partly=[MICROSOFT], version=_VERSIONS["node"]),
    "web-node": _engine(EXTERNAL, NOT_TENSORS, partly=[MICROSOFT], version=_VERSIONS["web-node"]),
}
"""By the name of the runtime in export/conformance/runtimes.py; two of those have the engine of another."""
SAME = {"openvino-c++": "openvino", "web-chromium": "web-node"}


@dataclass(frozen=True)
class Affected:
    """The engines that do not load a file with something, or compute it wrongly, and those that may; by name."""

    breaks: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()


EVERYWHERE, NONE = Affected(frozenset(ENGINES)), Affected()


def select(names: str | None) -> frozenset[str]:
    """The engines of these comma-separated runtimes; all of them for None.

    Raises:
        StudyError: there is no such runtime.
    """
    return frozenset(SAME.get(runtime.name, runtime.name) for runtime in runtimes.select(names))


@lru_cache(4096)
def affected(*words: str) -> Affected:
    """The engines that a file with these operators, domains or features affects."""
    breaks = frozenset(name for name, engine in ENGINES.items() if not engine.lacks.isdisjoint(words))
    perhaps = frozenset(name for name, engine in ENGINES.items() if not engine.partly.isdisjoint(words))
    return Affected(breaks, perhaps - breaks)


@lru_cache(4096)
def affected_by_type(kind: str) -> Affected:
    """The engines that lack an element type, and those in which it was not tried."""
    untried = frozenset(name for name, engine in ENGINES.items() if kind not in engine.types)
    return Affected(affected(kind).breaks, untried - affected(kind).breaks)


def reads(opset: int = 0, ir: int = 0) -> tuple[str, Affected]:
    """From which version on ONNX Runtime reads an opset and an IR version, in words, and the engines that do not."""
    refused = {name for name, engine in ENGINES.items() if engine.newest and not _covers(engine.newest, opset, ir)}
    old = {name for name, engine in ENGINES.items() if engine.newest and 0 < opset < OLDEST}
    since = [".".join(map(str, version)) for version, newest in ONNX_RUNTIME.items() if _covers(newest, opset, ir)]
    text = f"; ONNX Runtime reads it from {since[0]} on" if since else "; no ONNX Runtime reads it"
    if old:
        return f"; ONNX Runtime documents {OLDEST} and newer", Affected(perhaps=frozenset(old))
    return text if refused else "", Affected(frozenset(refused))


def _covers(newest: tuple[int, int], opset: int, ir: int) -> bool:
    return opset <= newest[0] and ir <= newest[1]


def title(name: str) -> str:
    """An engine with its version."""
    runtime = next(runtime for runtime in RUNTIMES if runtime.name == name)
    return runtime.title.format(version=runtime.version, browser="")


def titles(names: Iterable[str], of: frozenset[str]) -> str:
    """Engines in words, in the order of the table; `of` are those that the user asked for."""
    chosen = [name for name in ENGINES if name in names]
    return "every runtime" if len(chosen) == len(of) > 1 else ", ".join(map(title, chosen))
