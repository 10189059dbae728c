"""How a model uses the values of its integer inputs, and that ONNX Runtime takes all that are drawn."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import parser

from bench.onnx_files import read
from study.onnx_given import Given
from study.onnx_indices import Use, uses
from study.onnx_inputs import batch_sizes
from study.onnx_values import choices, generate
from tests.study.test_onnx_values import given

T3, T5 = "<float[3, 2] t = {1, 2, 3, 4, 5, 6}>", "<float[5] t = {1, 2, 3, 4, 5}>"
Expected = dict[str, Use]

TABLES: list[tuple[str, Expected]] = [
    # a look-up, directly and behind what leaves the value as it is
    (f"(int64[n, 4] i) => (float[] y) {T3} {{ y = Gather(t, i) }}", {"i": Use(0, 2)}),
    (f"(int64[n, 4] i) => (float[] y) {T3} {{ y = Gather<axis = 1>(t, i) }}", {"i": Use(0, 1)}),
    (f"(int64[n, 4] i) => (float[] y) {T3} {{ y = Gather<axis = -1>(t, i) }}", {"i": Use(0, 1)}),
    (f"(uint8[n, 4] i) => (float[] y) {T5} {{ j = Cast<to = 7>(i) y = Gather(t, j) }}", {"i": Use(0, 4)}),
    ("(bool[n] i) => (float[] y) <float[1] t = {7}> { j = Cast<to = 7>(i) y = Gather(t, j) }", {"i": Use(0, 0)}),
    (f"(int32[n, 4] i) => (float[] y) {T5} {{ j = Flatten(i) k = Transpose(j) y = Gather(t, k) }}", {"i": Use(0, 4)}),
    (f"(int32[n, 4] i) => (float[] y) {T5} {{ s = Constant<value_ints = [-1]>() low = Constant<value = int32 {{0}}>()"
     "high = Constant<value = int32 {9}>() j = Clip(i, low, high) k = Cast<to = 7>(j) l = Reshape(k, s)"
     "y = Gather(t, l) }", {"i": Use(0, 4)}),
    (f"(int64[n] i) => (float[] y) {T5} {{ low = Constant<value_int = 0>() high = Constant<value_int = 4>()"
     "j = Max(low, i) k = Min(j, high) y = Gather(t, k) }", {"i": Use(0, 4)}),
    # two tables: the smaller; two inputs: each its own
    ("(int64[n] i) => (float[] y, float[] z) <float[5] t = {1, 2, 3, 4, 5}, float[2] u = {1, 2}>"
     "{ y = Gather(t, i) z = Gather(u, i) }", {"i": Use(0, 1)}),
    ("(int64[n] i, int64[n] j, int64[n] mask) => (float[] y) <float[5] t = {1, 2, 3, 4, 5}, float[2] u = {1, 2}>"
     "{ a = Gather(t, i) b = Gather(u, j) c = Add(a, b) d = Cast<to = 1>(mask) y = Mul(c, d) }",
     {"i": Use(0, 4), "j": Use(0, 1)}),
    # sums with a constant: positions that begin at 2, lengths less 1
    ("(int64[n] i) => (float[] y) <float[5] t = {1, 2, 3, 4, 5}, int64 two = {2}>"
     "{ j = Add(i, two) y = Gather(t, j) }", {"i": Use(0, 2)}),
    ("(int64[n] i) => (float[] y) <float[5] t = {1, 2, 3, 4, 5}, int64[1] two = {2}>"
     "{ j = Add(two, i) y = Gather(t, j) }", {"i": Use(0, 2)}),
    (f"(int32[n] i) => (float[] y) {T5} {{ one = Constant<value = int32 {{1}}>() j = Sub(i, one) y = Gather(t, j) }}",
     {"i": Use(1, 5)}),
    ("(int64[n] i) => (float[] y) <float[5] t = {1, 2, 3, 4, 5}, int64 zero = {0}, int64 rows = {5}>"
     "{ less = Less(i, zero) k = Add(i, rows) j = Where(less, k, i) y = Gather(t, j) }", {"i": Use(0, 4)}),
    # other look-ups
    (f"(int64[3, 1] i) => (float[] y) {T3} {{ y = GatherElements<axis = 1>(t, i) }}", {"i": Use(0, 1)}),
    (f"(int64[n, 2] i) => (float[] y) {T3} {{ y = GatherND(t, i) }}", {"i": Use(0, 1)}),
    (f"(int64[n, 1] i) => (float[] y) {T3} {{ y = GatherND(t, i) }}", {"i": Use(0, 2)}),
    (f"(int64[4, 1] i, float[4, 2] u) => (float[] y) {T3} {{ y = ScatterND(t, i, u) }}", {"i": Use(0, 2)}),
    ("(int64[n] i) => (float[] y) <int64 rows = {4}, float[2] values = {0, 1}> { y = OneHot(i, rows, values) }",
     {"i": Use(0, 3)}),
    ("(int64[n] i) => (float[] y) <float[2] values = {0, 1}> { rows = Constant<value_int = 4>()"
     "one = Constant<value_ints = [1]>() half = Constant<value_float = 0.5>()"
     "j = Sub(i, one) y = OneHot(j, rows, values) }", {"i": Use(1, 4)}),
    # a table that is computed, and one whose rows only a shape fixes
    ("(int64[n] i) => (float[] y) <int8[3, 2] t = {1, 2, 3, 4, 5, 6}, float s = {0.5}>"
     "{ u = DequantizeLinear(t, s) y = Gather(u, i) }", {"i": Use(0, 2)}),
    ("(float[1, 6] x, int64[1] i) => (float[] y) { y = Gather<axis = 1>(x, i) }", {"i": Use(0, 5)}),
    # lengths of sequences
    ("(float[6, 4] x, int64[4] lengths) => (float[] y) { y = ReverseSequence(x, lengths) }", {"lengths": Use(1, 6)}),
    # branches and sizes
    ("(int64 sr, float[n] x) => (float[] y) <int64 rate = {16000}> { is = Equal(sr, rate) y = If(is)"
     "<then_branch = a () => (float[] t) { t = Relu(x) }, else_branch = b () => (float[] e) { e = Neg(x) }> }",
     {"sr": Use(decides=True)}),
    ("(bool flag, float[n] x) => (float[] y) { not = Not(flag) y = If(not)"
     "<then_branch = a () => (float[] t) { t = Relu(x) }, else_branch = b () => (float[] e) { e = Neg(x) }> }",
     {"flag": Use(decides=True)}),
    ("(int64 count) => (int64[] y) <int64 zero = {0}, int64 one = {1}> { y = Range(zero, count, one) }",
     {"count": Use(decides=True)}),
    # inside a branch, and from one; in a function
    (f"(bool flag, int64[n] i) => (float[] y) {T3} {{ y = If(flag)"
     "<then_branch = a () => (float[] v) { v = Gather(t, i) }, else_branch = b () => (float[] e) { e = Neg(t) }> }",
     {"flag": Use(decides=True), "i": Use(0, 2)}),
    (f"(bool flag, int64[n] i) => (float[] y) {T3} {{ j = If(flag)"
     "<then_branch = a () => (int64[] v) { v = Identity(i) }, else_branch = b () => (int64[] e) { e = Identity(i) }>"
     "y = Gather(t, j) }", {"flag": Use(decides=True), "i": Use(0, 2)}),
    # a value computed from a shape, or looked up by an index, does not restrict an input
    ("(int64[n, 4] i, float[n, 4] x) => (float[] y) { s = Shape(i) y = Reshape(x, s) }", {}),
    ("(int64[1] i, float[1] x) => (float[] y) <int64[3] t = {1, 2, 3}> { s = Gather(t, i) y = Expand(x, s) }",
     {"i": Use(0, 2)}),
    ("(int64[n] i) => (int64[] y) { y = Identity(i) }", {}),
]  # fmt: skip
GATHERED = "{ j = Cast<to = 7>(i) a = Gather(t, j) b = Cast<to = 1>(x) y = Add(a, b) }"
GATHERED_AND_REPEATED = """{ y = Gather(t, i) one = Constant<value_ints = [1]>() counts = Reshape(count, one)
    z = Tile(y, counts) }"""
IMPORTS = '<ir_version: 8, opset_import: ["": 18, "own": 1]> m '


def save(path: Path, text: str) -> Path:
    path.write_bytes(parser.parse_model(IMPORTS + text).SerializeToString())
    return path


@pytest.mark.parametrize(("text", "expected"), TABLES)
def test_what_values_are_for_is_followed_through_the_graph(tmp_path: Path, text: str, expected: Expected) -> None:
    path = save(tmp_path / "m.onnx", text)
    facts = read(path)
    assert facts.uses == expected
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (batch,) = batch_sizes(facts.inputs, {}, [3])
    for arrays in generate(facts.inputs, Given(), batch, 0, 8, facts.uses):
        session.run(None, arrays)


def test_an_index_takes_every_row_of_its_table(tmp_path: Path) -> None:
    facts = read(save(tmp_path / "m.onnx", f"(uint8[n] i, uint8[n] x) => (float[] y) {T5} {GATHERED}"))
    (arrays,) = generate(facts.inputs, Given(), 1000, 0, 1, facts.uses)
    assert set(arrays["i"]) == {0, 1, 2, 3, 4}
    assert len(set(arrays["x"])) > 200
    (arrays,) = generate(facts.inputs, Given(values={"i": "1..2"}), 1000, 0, 1, facts.uses)
    assert set(arrays["i"]) == {1, 2}  # the user's word counts


def test_a_table_that_a_batch_makes_longer_is_read_within_one_item(tmp_path: Path) -> None:
    facts = read(save(tmp_path / "m.onnx", "(float[n, 2] x, int64[m] i) => (float[] y) { y = Gather(x, i) }"))
    assert facts.uses == {"i": Use(0, 0)}
    facts = read(tmp_path / "m.onnx", Given({"x": (4, 2)}))
    assert facts.uses == {"i": Use(0, 3)}


def test_a_length_is_that_of_the_shortest_sequence_it_may_mean(tmp_path: Path) -> None:
    text = "(float[n, 7, 9] x, int64[n] x_lengths, float[n, 0] none) => (int64[] y) { y = Identity(x_lengths) }"
    facts = read(save(tmp_path / "m.onnx", text))
    for name in ("x_lengths", "length", "audio_len", "seq.lens", "len:0"):
        inputs = [replace(value, name=name) if value.dtype == np.int64 else value for value in facts.inputs]
        (arrays,) = generate(inputs, Given(), 2, 0, 1)
        np.testing.assert_array_equal(arrays[name], [7, 7])
        assert choices(inputs, Given(), 2, {}) == [f"{name!r} 7 (a length by its name)"]
    inputs = [replace(value, name="silence") if value.dtype == np.int64 else value for value in facts.inputs]
    assert choices(inputs, Given(), 2, {}) == []


def test_choices_that_matter_are_listed_unless_the_user_made_them(tmp_path: Path) -> None:
    text = f"(int64[n] i, int64 count) => (float[] y, float[] z) {T5} {GATHERED_AND_REPEATED}"
    facts = read(save(tmp_path / "m.onnx", text))
    expected = ["'i' 0..4 (an index or a length)", "'count' 0..1 (which decides what is computed)"]
    assert choices(facts.inputs, Given(), 1, facts.uses) == expected
    assert choices(facts.inputs, Given(values={"count": "3"}), 1, facts.uses) == expected[:1]
    fed = Given({"i": (1,)}, {}, ({"i": np.array([1])},))
    assert choices(facts.inputs, fed, 1, facts.uses) == expected[1:]


def test_functions_are_followed_even_those_that_call_each_other(tmp_path: Path) -> None:
    made = parser.parse_model(
        IMPORTS
        + f"""(int64[n] i) => (float[] y) {T3} {{ y = own.Outer(t, i) }}
        <domain: "own", opset_import: ["": 18, "own": 1]> Outer (a, b) => (c) {{ c = own.Inner(b, a) }}
        <domain: "own", opset_import: ["": 18, "own": 1]> Inner (b, a) => (c) {{ c = Gather(a, b) }}"""
    )
    known = {"t": (3, 2)}
    assert uses(made, [given("i", "n", dtype=np.int64)], known) == {"i": Use(0, 2)}
    made.functions[1].node[0].op_type = "Outer"
    made.functions[1].node[0].domain = "own"
    assert uses(made, [given("i", "n", dtype=np.int64)], known) == {}


def test_a_value_of_very_many_inputs_is_not_followed() -> None:
    names = [f"i{index}" for index in range(3000)]
    inputs = ", ".join(f"int64[1] {name}" for name in names)
    sums = "".join(f"s{index} = Add(s{index - 1}, i{index}) " for index in range(1, 3000))
    made = parser.parse_model(
        IMPORTS + f"({inputs}) => (float[] y) {T3} {{ s0 = Identity(i0) {sums} y = Gather(t, s2999) }}"
    )
    tracemalloc.start()
    assert uses(made, [given(name, 1, dtype=np.int64) for name in names], {}) == {}
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()
