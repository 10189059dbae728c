"""Weights as pictures: cells of matrices, and the filters of the first convolution."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from analysis.inputs.files import find
from analysis.inputs.study import read_study
from analysis.plots.matrices import ZERO, matrices
from analysis.tables import matrices as tables
from study.artifacts import Artifacts
from tests.support.study import write_run


def test_a_cell_has_the_mean_square_of_its_weights_and_the_share_of_its_zeros(artifacts: Artifacts) -> None:
    weight = np.zeros((3, 2 * tables.CELLS), np.float32)
    weight[0, :2] = 3, 4
    weight[1, 2] = 1
    write_run(artifacts, "baseline", 0, {"fc": weight})
    rows = tables.matrices(read_study(find(artifacts, ("baseline",))))
    assert len(rows) == 3 * tables.CELLS
    assert set(rows["seed"]) == {0}, "the first run alone"
    cells = {(row["out"], row["in"]): (row["rms"], row["exact_zeros"]) for row in rows.to_dict("records")}
    assert [cells[place] for place in ((0, 0), (1, 2), (2, 4))] == [(3.536, 0), (0.7071, 0.5), (0, 1)]
    image = np.asarray(matrices(rows).axes[0].images[0].get_array())
    zero = np.array([int(ZERO[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    assert (np.abs(image - zero).max(axis=2) < 0.01).sum() == 3 * tables.CELLS - 2


def test_the_filters_are_those_of_the_first_convolution(tmp_path: Path) -> None:
    weights = {name: np.full((2, 1, 3, 3), value, np.float32) for name, value in (("first", 1), ("second", 2))}
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["x"]),
        helper.make_node("Conv", ["x", "second"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image", "y")]
    stored = [numpy_helper.from_array(weights[name], name) for name in ("second", "first")]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)), tmp_path / "m.onnx")
    found = tables.first_convolution(tmp_path / "m.onnx")
    assert found is not None
    assert np.array_equal(found, weights["first"])
