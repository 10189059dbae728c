"""What is read from each engine's profiler: lines and spans written by hand, and one tiny network in each engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from bench.cases import Case
from bench.models import Model, from_file
from bench.profile.measure import ProfileTask, find_profiles, profile, without_profiler
from bench.profile.onnx_chain import chain
from bench.profile.onnx_runtime import Arguments, Line, events, lines
from bench.profile.open_vino import between
from bench.profile.torch_profiler import Span, named, operators, recorded, spans, tree, with_modules
from bench.profile.torch_script import modules_of
from bench.runtimes.torch_compiled import quiet
from bench.sampling import Budget
from study.errors import StudyError
from study.modules.building import Built, Flat
from study.onnx_given import Given
from study.records.profile import ProfileRecord

QUICK = Budget(seconds=0.02, processes=1, quick=True)


def node(name: str, start: int, duration: int) -> Line:
    return Line("Node", f"{name}_kernel_time", start, duration, Arguments("Conv"))


def session(name: str, start: int, duration: int) -> Line:
    return Line("Session", name, start, duration)


def test_a_node_of_onnxruntime_lasts_until_the_next_one_begins() -> None:
    """The last one until the executor ends; a microsecond is rounded down twice there, by a half each on average."""
    ends = [session("SequentialExecutor::Execute", 8, 30), session("model_run", 7, 33)]
    loading = [session("model_loading_uri", 0, 5), session("session_initialization", 5, 1)]
    (found,) = events(iter([*loading, node("a", 10, 3), node("b", 16, 8), *ends]))
    assert [(one.name, one.kind, one.events) for one in found] == [("a", "Conv", 1), ("b", "Conv", 1)]
    assert [one.seconds for one in found] == pytest.approx([6e-6, 22.5e-6])


def test_nodes_in_the_body_of_a_loop_count_for_the_loop() -> None:
    """Their lines come before that of the loop, and the bodies have executors of their own."""
    body = [node("inner", 12, 4), session("SequentialExecutor::Execute", 11, 8), node("inner", 22, 4)]
    call = [*body, session("SequentialExecutor::Execute", 21, 8), node("loop", 10, 30), node("after", 44, 2)]
    ends = [session("SequentialExecutor::Execute", 8, 41), session("model_run", 7, 43)]
    (found,) = events(iter([*call, *ends]))
    assert [(one.name, one.events) for one in found] == [("loop", 3), ("after", 1)]


def test_a_profile_is_an_object_a_line(tmp_path: Path) -> None:
    """It has keys that are not read, such as the number of the process."""
    file = tmp_path / "profile.json"
    a = {"cat": "Node", "pid": 1, "name": "a_kernel_time", "ts": 1, "dur": 2, "args": {"op_name": "Conv", "graph": "0"}}
    b = {"cat": "Session", "name": "model_run", "ts": 4, "dur": 3, "args": {}}
    file.write_text(f"[\n{json.dumps(a)},\n{json.dumps(b)}\n]\n")
    assert list(lines(file)) == [node("a", 1, 2), session("model_run", 4, 3)]
    for damaged in ('{"cat": "No', '{"cat": "Node"}', '{"cat": "Node", "name": 1, "ts": 1, "dur": 2}'):
        file.write_text(f"[\n{damaged}\n")
        with pytest.raises(StudyError, match="the profile of ONNX Runtime cannot be read"):
            list(lines(file))


def test_an_operator_of_torch_has_those_that_it_calls() -> None:
    linear = Span("aten::linear", 100, 200, annotation=False)
    inner = [Span("aten::t", 105, 115, annotation=False), Span("aten::addmm", 120, 190, annotation=False)]
    relu = Span("aten::relu", 210, 230, annotation=False)
    found = [one for span in tree([relu, *inner, linear]) for one in operators(span)]
    assert [(one.name, one.events, one.kernel) for one in found] == [
        ("aten::linear", 3, "aten::addmm"),
        ("aten::relu", 1, "aten::relu"),
    ]
    assert [one.seconds for one in found] == pytest.approx([100e-9, 20e-9])


def test_a_compiled_graph_has_its_own_time_and_the_operators_in_it() -> None:
    region = Span("## Call CompiledFxGraph abc ##", 0, 100, annotation=False)
    (outer,) = tree([region, Span("aten::addmm", 10, 40, annotation=False)])
    found = [(one.name, round(one.seconds * 1e9)) for one in operators(outer)]
    assert found == [("compiled graph", 70), ("aten::addmm", 30)]


def test_a_graph_of_torchscript_has_its_own_time_and_the_operators_in_it() -> None:
    (outer,) = tree([Span("forward", 0, 100, annotation=False), Span("aten::mm", 10, 40, annotation=False)])
    found = [(one.name, round(one.seconds * 1e9)) for one in operators(outer)]
    assert found == [("TorchScript graph", 70), ("aten::mm", 30)]


class Twice(nn.Module):
    """A module that is called twice, and an operator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.inner(self.inner(x)))


def test_operators_belong_to_the_module_that_calls_them() -> None:
    network, given = Twice().eval(), torch.zeros(1, 2)
    with torch.inference_mode(), recorded() as recording, named(network):
        network(given)
    once = [("aten::linear", "inner.0"), ("aten::relu", "inner.1")]
    assert list(with_modules(tree(spans(recording)))) == [*once, *once, ("aten::sigmoid", "")]
    assert not network.inner._forward_hooks
    assert not network.inner._forward_pre_hooks


def test_operators_of_torchscript_belong_to_the_modules_that_were_traced() -> None:
    """The product and the sum that its frozen graph makes of a layer have no scope, but the layer's weights."""
    built = Built(Twice().eval(), by_position=True)
    with torch.no_grad(), quiet():
        traced: Any = torch.jit.trace(Flat(built, ["x"]).eval(), (torch.zeros(1, 2),))  # type: ignore[no-untyped-call]
        script = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    names = ["TorchScript graph", *["aten::matmul", "aten::add", "aten::relu"] * 2, "aten::sigmoid"]
    layer = ["inner.0", "inner.0", "inner.1"]
    assert modules_of(script, built.network, names) == [None, *layer, *layer, ""]
    assert modules_of(script, built.network, ["aten::relu"]) == [None], "it has two"


def test_a_node_of_openvino_belongs_to_the_module_that_is_before_and_behind_it() -> None:
    """The LSTM has a name of its own, as have what prepares its state and what changes the layout of its result."""
    before = {
        "to_int": ["ids"],
        "emb/Gather": ["to_int"],
        "rnn/Transpose": ["emb/Gather"],
        "state": ["rnn/Transpose"],
        "LSTM_1": ["rnn/Transpose", "state"],
        "layout": ["LSTM_1"],
        "rnn/Reshape": ["layout"],
        "between": ["rnn/Reshape"],
        "head/Gemm": ["between"],
    }
    known = {name: name.partition("/")[0] if "/" in name else None for name in ("ids", *before)}
    found = between(before, known)
    assert {name: found[name] for name, module in known.items() if module is None} == {
        **dict.fromkeys(("state", "LSTM_1", "layout"), "rnn"),
        **dict.fromkeys(("ids", "to_int", "between")),
    }


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A convolution with the weights `conv.weight`, and some operators without any."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(chain(1))
    return Case(from_file(path, Given()), "onnxruntime", 1)


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def profiled(request: pytest.FixtureRequest, case: Case, tmp_path_factory: pytest.TempPathFactory) -> ProfileRecord:
    pytest.importorskip(request.param)
    return profile(Case(case.model, request.param, 1), QUICK, tmp_path_factory.mktemp(request.param))


def test_a_file_has_a_profile_in_each_engine(profiled: ProfileRecord) -> None:
    convolutions = [one for one in profiled.operators if one.kind in ("Conv", "Convolution")]
    assert [one.module for one in convolutions] == ["conv"]
    together = sum(one.seconds for one in profiled.operators) + profiled.outside_seconds
    assert profiled.accounted == pytest.approx(together / profiled.unprofiled_seconds)
    assert not profiled.valid


def test_an_lstm_of_openvino_has_its_module_although_each_compiled_model_names_it_otherwise(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    weights = {"w": np.ones((1, 8, 3), np.float32), "r": np.ones((1, 8, 2), np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Softmax", ["x"], ["before"], "rnn/before"),
            helper.make_node("LSTM", ["before", "w", "r"], ["h"], "rnn/lstm", hidden_size=2),
            helper.make_node("Softmax", ["h"], ["y"], "rnn/after"),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    record = profile(Case(from_file(tmp_path / "model.onnx", Given()), "openvino", 5), QUICK, tmp_path)
    assert {one.module for one in record.operators if one.kind.startswith("LSTM")} == {"rnn"}


def test_engines_without_a_profiler_are_named(case: Case) -> None:
    cases = [Case(case.model, name, 1) for name in ("onnxruntime", "reference")]
    assert find_profiles(cases) == [ProfileTask(cases[0])]
    assert without_profiler(cases) == ["no profile of reference: only some engines have a profiler, on the CPU"]
    with pytest.raises(StudyError, match="reference has no profiler"):
        profile(cases[1], QUICK, Path())


def test_a_trained_model_in_torch_has_the_modules_of_its_network(gap: Model, tmp_path: Path) -> None:
    """Without the Sequential that the bench puts it into; the softmax there is the network's own."""
    record = profile(Case(gap, "torch", 1), QUICK, tmp_path)
    kinds = {one.module: one.kind for one in record.operators if one.kind == "aten::conv2d"}
    assert set(kinds) == {f"conv{i}" for i in range(1, 6)}
    assert [one.module for one in record.operators if "softmax" in one.kind] == [""]
