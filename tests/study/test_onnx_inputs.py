"""The shapes of the inputs of any model, and that ONNX Runtime takes what is generated for them."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from bench.onnx_files import read
from study.errors import StudyError
from study.onnx_given import Given, parse_given
from study.onnx_inputs import Input, batch_sizes, concrete, signature
from study.onnx_values import generate
from tests.study.test_onnx_values import given

IMAGE = given("x", "batch", 3, "height", "width")
MASK = given("mask", "batch", "length", dtype=np.int64)


BATCHES: list[tuple[list[Input], dict[str, tuple[int, ...]], list[int]]] = [
    ([IMAGE], {}, [1, 32]),
    ([given("x", None, 3)], {}, [1, 32]),
    ([given("x", 8, 3), given("y", "N")], {}, [1, 32]),
    ([IMAGE], {"x": (4, 3, 9, 9)}, [4]),
    ([IMAGE, MASK], {"x": (4, 3, 9, 9)}, [4]),  # the mask's dimension has the same name
    ([IMAGE, given("y", "N", 2)], {"x": (4, 3, 9, 9)}, [1, 32]),
    ([given("s"), given("x", 8, 3), given("y", 2)], {}, [8]),
    ([given("s")], {}, [1]),
    ([given("x", None, 3), given("y", None)], {"x": (4, 3)}, [4]),  # the batch of both
    ([given("ids", "batch", "length"), given("past", "batch", 4, "past", 8)], {"past": (2, 4, 0, 8)}, [2]),
]


def test_batches_are_those_wanted_unless_the_file_or_the_user_fixes_one() -> None:
    for inputs, shapes, expected in BATCHES:
        assert batch_sizes(inputs, shapes, [1, 32]) == expected, inputs


def test_a_dimension_has_one_number_wherever_its_name_stands() -> None:
    inputs = [MASK, given("ids", None, "length"), given("square", "length", "length"), given("table", 7, "batch")]
    assert concrete(inputs, {"mask": (4, 9), "ids": (4, 9)}, 4) == {
        "mask": (4, 9), "ids": (4, 9), "square": (9, 9), "table": (7, 4)
    }  # fmt: skip
    assert concrete(inputs[:1] + inputs[3:], {"mask": (4, 9)}, 4)["table"] == (7, 4)
    assert concrete([given("x", "batch"), given("table", 7, "batch")], {}, 5) == {"x": (5,), "table": (7, 5)}


def test_a_name_that_is_a_sum_has_the_sum_of_its_terms() -> None:
    past = given("past", "n", 4, "past length", 8)
    inputs = [given("ids", "n", "length", dtype=np.int64), past, given("mask", "n", "past length + length")]
    shapes = {"ids": (2, 3), "past": (2, 4, 5, 8)}
    assert concrete(inputs, shapes, 2)["mask"] == (2, 8)
    assert concrete(inputs, shapes | {"mask": (2, 9)}, 2)["mask"] == (2, 9)
    assert concrete([past, given("next", "n", "past length+1")], {"past": (2, 4, 5, 8)}, 2)["next"] == (2, 6)
    with pytest.raises(StudyError, match=r"--size length=128 --size 'past length=0'$"):
        concrete(inputs, {}, 1)


def test_a_size_holds_for_its_dimension_in_every_input_and_in_sums() -> None:
    graph = parser.parse_graph(
        """g (int64[batch, sequence] ids, float[batch, sequence, "past + sequence"] mask, float[batch, 4, past] kept)
        => (int64[batch, sequence] y) { y = Identity(ids) }"""
    )
    inputs = signature(graph, parse_given([], [], [], ["sequence=7", "past=2"]))
    assert {one.name: one.shape for one in inputs} == {
        "ids": ("batch", 7), "mask": ("batch", 7, 9), "kept": ("batch", 4, 2)
    }  # fmt: skip
    with pytest.raises(StudyError, match=r"--size length: no input .* are: batch, past, past \+ sequence, sequen"):
        signature(graph, parse_given([], [], [], ["length=7"]))


REFUSED: list[tuple[list[Input], dict[str, tuple[int, ...]], int, str]] = [
    ([IMAGE], {}, 1, "'x' has shape [batch, 3, height, width]: give it with --size height=224 --size width=224"),
    ([given("x", "n", None)], {}, 1, "'x' has shape [n, ?]: give it with --shape x=1,16"),
    ([given("x", "n", None, "width")], {}, 1, "give it with --shape x=1,16,16"),
    ([given("x y", "n", None)], {}, 1, "--shape 'x y=1,16'"),
    ([MASK], {}, 1, "'mask' has shape [batch, length]: give it with --size length=128"),
    ([MASK, given("ids", "batch", "length", dtype=np.int64), given("past", "batch", 4, "past_length", 8)], {}, 1,
     "[batch, 4, past_length, 8]: give them with --size length=128 --size past_length=0"),
    ([given("input", None, None), given("state", 2, None, 128)], {}, 1,
     "give them with --shape input=1,16 --shape state=2,1,128"),
    ([IMAGE, MASK], {"y": (1,)}, 1, "no input 'y'; it has: 'x', 'mask'"),
    ([IMAGE], {"x": (1, 3, 9)}, 1, "shape x=1,3,9: expected 4 dimensions"),
    ([given("s")], {"s": (1,)}, 1, "expected 0 dimensions"),
    ([IMAGE], {"x": (1, 4, 9, 9)}, 1, "shape x=1,4,9,9: expected 3 where it has 4"),
    ([IMAGE, MASK], {"x": (1, 3, 9, 9), "mask": (2, 9)}, 1, "shape mask=2,9: expected 1 where it has 2"),
    ([given("x", "n", "n")], {"x": (2, 3)}, 2, "expected 2 where it has 3"),
    ([given("x", 8, 3)], {}, 4, "expected the batch 8"),
    ([given("x", 0, 3)], {}, 1, "a batch of one or more"),
    ([given("x", "n", 10**6)], {}, 10**6, "at most 4294967296 bytes, found 8000000000000"),
    ([given("x", 1, dtype=np.complex64)], {}, 1, "dtype complex64"),
    ([given("word", 1, dtype=object)], {}, 1, "'word' has dtype str: expected floats of 16 bits or more, integers or "
     "bool; give it with --input word=TEXT or --feed FILE.npz"),
]  # fmt: skip


def test_inputs_that_cannot_be_made_are_refused_with_the_remedy() -> None:
    for inputs, shapes, batch, message in REFUSED:
        with pytest.raises(StudyError) as error:
            generate(inputs, Given(shapes), batch, seed=0, count=2)
        assert message in str(error.value)


MODEL = """<ir_version: 8, opset_import: ["": 18]> main
    (int64[batch, length] ids, bool[batch, length] mask, uint8[?, 4] pixels, float16 scale, bool[1] flag,
     float[3] default)
    => (float[] y, bool[] mask_out, uint8[] pixels_out, float16[] scale_out) <float[2, 1] table = {1, 1}>
    { embedded = Gather(table, ids)
      y = If(flag)<then_branch = a () => (float[] t) { t = Identity(embedded) },
                   else_branch = b () => (float[] e) { e = Identity(embedded) }>
      mask_out = Identity(mask) pixels_out = Identity(pixels) scale_out = Identity(scale) }"""
"""Tokens, a mask, a byte image, a scalar and a flag; `default` has an initializer and need not be given."""


@pytest.mark.parametrize(("shapes", "batch"), [({"ids": (3, 7), "pixels": (3, 4)}, 3), ({"mask": (2, 6)}, 5)])
def test_onnx_runtime_takes_what_is_generated(tmp_path: Path, shapes: dict[str, tuple[int, ...]], batch: int) -> None:
    made, path = parser.parse_model(MODEL), tmp_path / "model.onnx"
    made.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "default"))
    path.write_bytes(made.SerializeToString())
    inputs = read(path, Given(shapes)).inputs
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for arrays in generate(inputs, Given(shapes), batch, seed=0, count=3):
        outputs = session.run(None, arrays)
        assert outputs[0].shape == (*arrays["ids"].shape, 1)
        for name, found in zip(("mask", "pixels", "scale"), outputs[1:], strict=True):
            np.testing.assert_array_equal(found, arrays[name])
