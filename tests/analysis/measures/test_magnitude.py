"""Setting the smallest weights of an ONNX model to zero, by hand; and running only what depends on them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from analysis.measures.magnitude import BATCH, Images, Network, errors
from study.errors import StudyError
from tests.support.study import save_graph

A = np.array([[3, -1], [0.5, 2]], np.float32)
B = np.array([[-4, 0.25]], np.float32)
BOTH = ("a.weight", "b.weight")


def model(path: Path, **weights: np.ndarray) -> onnx.ModelProto:
    """A network of one Gemm (transB = 1) with a bias for each (out, in) weight."""
    value, nodes, tensors = "image", [], []
    for name, weight in weights.items():
        bias = np.full(weight.shape[0], 1e-6, np.float32)
        tensors += [numpy_helper.from_array(weight, f"{name}.weight"), numpy_helper.from_array(bias, f"{name}.bias")]
        nodes.append(helper.make_node("Gemm", [value, f"{name}.weight", f"{name}.bias"], [f"{name}_out"], transB=1))
        value = f"{name}_out"
    save_graph(path / "model.onnx", nodes, tensors, value)
    return onnx.load(path / "model.onnx")


def stored(network: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in network.graph.initializer}


class TestCut:
    def test_the_smallest_magnitudes_of_all_layers_together_become_zero(self, tmp_path: Path) -> None:
        part, threshold = Network(model(tmp_path, a=A, b=B), BOTH).cut(50)  # 3 of 6: 0.25, 0.5 and -1
        np.testing.assert_array_equal(stored(part)["a.weight"], [[3, 0], [0, 2]])
        np.testing.assert_array_equal(stored(part)["b.weight"], [[-4, 0]])
        assert threshold == 1

    def test_all_else_is_untouched(self, tmp_path: Path) -> None:
        original = model(tmp_path, a=A, b=B)
        before = original.SerializeToString()
        part, _ = Network(original, ("a.weight",)).cut(100)
        assert original.SerializeToString() == before
        np.testing.assert_array_equal(stored(part)["a.weight"], np.zeros((2, 2)))
        for name in ("a.bias", "b.weight", "b.bias"):
            assert stored(part)[name].tobytes() == stored(original)[name].tobytes()
        assert part.graph.node == original.graph.node

    def test_of_equal_magnitudes_the_first_are_cut(self, tmp_path: Path) -> None:
        part, _ = Network(model(tmp_path, a=np.array([[1, -1, 1, -1]], np.float32)), ("a.weight",)).cut(50)
        np.testing.assert_array_equal(stored(part)["a.weight"], [[0, 0, 1, -1]])

    def test_a_share_is_rounded_down_to_whole_weights(self, tmp_path: Path) -> None:
        network = Network(model(tmp_path, a=A, b=B), BOTH)
        zeros = {share: stored(network.cut(share)[0]) for share in (0, 16, 17, 33, 34, 99, 100)}
        counts = [sum(int((tensors[name] == 0).sum()) for name in BOTH) for tensors in zeros.values()]
        assert counts == [0, 0, 1, 1, 2, 5, 6]
        assert network.cut(16)[1] == 0

    def test_a_weight_that_is_no_initializer_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match=r"'c\.weight' among the initializers"):
            Network(model(tmp_path, a=A), ("a.weight", "c.weight"))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_finite_are_refused(self, tmp_path: Path, value: float) -> None:
        with pytest.raises(StudyError, match=r"finite.*'a\.weight'"):
            Network(model(tmp_path, a=np.array([[1, value]], np.float32)), ("a.weight",))


class TestNetwork:
    """Convolution, ReLU, Flatten, Gemm: only the last depends on the weights that are cut."""

    N = 2 * BATCH + 7
    IMAGES = Images(
        np.random.default_rng(1).standard_normal((N, 1, 4, 4), np.float32), (np.arange(N) % 3).astype(np.uint8)
    )

    @staticmethod
    def convolutional(path: Path, *more: Any, output: str = "scores") -> onnx.ModelProto:
        random = np.random.default_rng(0)
        kernel = random.normal(size=(2, 1, 3, 3)).astype(np.float32)
        weight = random.normal(size=(3, 8)).astype(np.float32)
        nodes = [
            helper.make_node("Conv", ["image", "kernel"], ["maps"]),
            helper.make_node("Relu", ["maps"], ["positive"]),
            helper.make_node("Flatten", ["positive"], ["features"]),
            helper.make_node("Gemm", ["features", "weight"], ["scores"], transB=1),
            *more,
        ]
        tensors = [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(weight, "weight")]
        save_graph(path / "model.onnx", nodes, tensors, output)
        network = onnx.load(path / "model.onnx")
        shape = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 1, 4, 4])
        network.graph.input[0].CopyFrom(shape)
        return network

    def run_whole(self, network: onnx.ModelProto, share: int) -> int:
        """Misclassified images of the whole model with the smallest of its 24 weights set to zero."""
        edited = onnx.ModelProto()
        edited.CopyFrom(network)
        weight = stored(network)["weight"].copy()
        weight.ravel()[np.argsort(np.abs(weight), axis=None)[: 24 * share // 100]] = 0
        edited.graph.initializer[1].CopyFrom(numpy_helper.from_array(weight, "weight"))
        (scores,) = onnxruntime.InferenceSession(edited.SerializeToString()).run(None, {"image": self.IMAGES.pixels})
        return int((scores.argmax(1) != self.IMAGES.labels).sum())

    def test_it_misclassifies_what_the_whole_model_does_and_runs_its_convolutions_once(self, tmp_path: Path) -> None:
        network = self.convolutional(tmp_path)
        divided = Network(network, ["weight"])
        batches = divided.compute(self.IMAGES)
        assert [{name: value.shape for name, value in batch.values.items()} for batch in batches] == [
            {"features": (BATCH, 8)},
            {"features": (BATCH, 8)},
            {"features": (7, 8)},
        ]
        counts = [errors(divided.cut(share)[0], batches) for share in (0, 30, 60, 90)]
        assert counts == [self.run_whole(network, share) for share in (0, 30, 60, 90)]
        assert len(set(counts)) > 1, "the cuts differ"
        assert {node.op_type for node in divided.cut(50)[0].graph.node} == {"Gemm"}

    def test_it_is_divided_at_several_values_or_run_whole_where_the_image_is_one_of_them(self, tmp_path: Path) -> None:
        mean = helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0)
        network = self.convolutional(tmp_path, mean, helper.make_node("Add", ["scores", "mean"], ["y"]), output="y")
        divided = Network(network, ["weight"])
        batches = divided.compute(self.IMAGES)
        assert {name for batch in batches for name in batch.values} == {"features", "mean"}
        assert errors(divided.cut(60)[0], batches) == self.run_whole(network, 60)
        skip = helper.make_node("Mul", ["scores", "image"], ["y"])
        divided = Network(self.convolutional(tmp_path, skip, output="y"), ["weight"])
        assert {name for batch in divided.compute(self.IMAGES) for name in batch.values} == {"image"}
