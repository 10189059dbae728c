"""The cases of a benchmark, their inputs, and the checks before they are timed."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from msgspec import structs
from numpy.typing import NDArray

from bench.cases import MODES, Case, Mode, find_cases, find_pairs, opened
from bench.models import Model, from_file
from bench.parity import expected, parity
from bench.runtimes.onnx_runtime import ONNXRuntime
from study import catalogue
from study.artifacts import RunFiles
from study.errors import StudyError
from study.onnx_given import Given
from study.record_files import read_record
from study.records.base import Parity
from study.records.bench import CaseKey
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.variants import Variant
from tests.conftest import ROOT, Trained

HEADER = '<ir_version: 10, opset_import: ["" : 19, "ai.onnx.ml" : 1]>'
LINEAR = "g (float[N, 3] x) => (float[N, 2] y) <float[3, 2] w = {1, 2, 3, 4, 5, 6}> { y = MatMul(x, w) }"
FIXED = LINEAR.replace("N", "4")


def write(path: Path, graph: str) -> Model:
    """The model of an ONNX file in ONNX's own text."""
    path.write_bytes(onnx.parser.parse_model(HEADER + graph).SerializeToString())
    return from_file(path, Given())


def imagined(name: str) -> Model:
    """A model of the catalogue without files."""
    return Model(name, Path("m.onnx"), "0" * 64, catalogue.entry(name), RunFiles(Path("seed0"), name, 0))


@pytest.fixture(scope="module")
def first_images(data: Path) -> NDArray[np.float32]:
    """The first 1,024 test images, from the bytes of the file: 16 of a header, then 28 x 28 of each image."""
    content = (data / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()
    images = np.frombuffer(content, np.uint8, 1024 * 784, 16).reshape(1024, 1, 28, 28)
    return (images.astype(np.float64) / 255).astype(np.float32)


class Reversed(ONNXRuntime):
    """Reverses the outputs of every item."""

    def run(self, inputs: Any) -> Any:
        return [output[:, ::-1] for output in super().run(inputs)]


class SlightlyOff(ONNXRuntime):
    """Wrong by 2e-5 of the largest output: too much for the catalogue, within the limit for a user's file."""

    factor = 1 + 2e-5

    def run(self, inputs: Any) -> Any:
        return [output * np.float32(self.factor) for output in super().run(inputs)]


class MuchOff(SlightlyOff):
    """Wrong by 0.2 %."""

    factor = 1.002


class OtherThreads(ONNXRuntime):
    """Reports one thread more than requested."""

    closed = 0

    def settings(self) -> dict[str, Any]:
        found = super().settings()
        return found | {"threads": found["threads"] + 1}

    def close(self) -> None:
        type(self).closed += 1
        super().close()


HERE = "tests.bench.test_cases"


def compared(case: Case, explain: bool = False) -> Parity | None:
    """The parity of a case, computed as in the bench."""
    pool = case.model.pool(case.batch)
    wanted = expected(case, pool)
    with opened(case, pool) as engine, engine.runtime.context():
        return parity(engine, engine.outputs(), wanted, explain)[0]


# ---- cases and pairs


def test_cases_are_all_combinations_with_complete_ids() -> None:
    models = [imagined("baseline"), imagined("gap")]
    found = find_cases(models, ["torch", "onnxruntime", "openvino"], [1, 32], [1, 2], "numpy")
    ids = {
        f"{model}-{runtime}-batch{batch}-threads{threads}-numpy-cpu"
        for model, runtime, batch, threads in product(
            ["baseline", "gap"], ["torch", "onnxruntime", "openvino"], [1, 32], [1, 2]
        )
    }
    assert len(found) == 24
    assert {str(case) for case in found} == ids
    assert {case.against for case in found if case.runtime == "torch"} == {("onnxruntime",)}
    assert {case.against for case in found if case.runtime != "torch"} == {("torch",)}


def test_the_key_of_a_case() -> None:
    case = Case(imagined("gap"), "torch", 32, 2, "numpy", "cuda")
    assert str(case) == "gap-torch-batch32-threads2-numpy-cuda"
    assert case.key == CaseKey(
        model="gap",
        variant="standard",
        seed=0,
        onnx_sha256="0" * 64,
        runtime="torch",
        batch=32,
        threads=2,
        mode="numpy",
        device="cuda",
    )
    assert case.model.run is not None
    int8 = replace(case.model, name="gap-int8-static", run=case.model.run.of(Variant(int8="static")))
    assert replace(case, model=int8).key == structs.replace(case.key, variant="int8-static")


def test_a_file_is_measured_in_the_engines_that_run_files_and_at_its_own_batch_size(tmp_path: Path) -> None:
    models = [write(tmp_path / "free.onnx", LINEAR), write(tmp_path / "fixed.onnx", FIXED)]
    found = find_cases(models, ["torch", "torch-compile", "openvino", "onnxruntime"], [1, 3], [1])
    assert [(case.model.name, case.runtime, case.batch, case.against) for case in found] == [
        ("free", "openvino", 1, ("onnxruntime",)),
        ("free", "onnxruntime", 1, ("openvino",)),
        ("free", "openvino", 3, ("onnxruntime",)),
        ("free", "onnxruntime", 3, ("openvino",)),
        ("fixed", "openvino", 4, ("onnxruntime",)),
        ("fixed", "onnxruntime", 4, ("openvino",)),
    ]
    assert {(case.key.model, case.key.variant, case.key.seed) for case in found} == {
        ("free", "standard", None),
        ("fixed", "standard", None),
    }


def test_a_single_runtime_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    (case,) = find_cases([write(tmp_path / "free.onnx", LINEAR)], ["onnxruntime"], [2], [1])
    assert case.against == ()
    assert compared(case) is None


def test_a_file_that_no_runtime_can_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"free\.onnx: none of torch, torch-compile runs an ONNX file; try"):
        find_cases([write(tmp_path / "free.onnx", LINEAR)], ["torch", "torch-compile"], [1], [1])


@pytest.mark.parametrize(
    ("runtime", "lookup"),
    [
        ("onnxruntime", "Gather(t, k)"),
        ("onnxruntime", "GatherElements(t, k)"),
        ("onnxruntime", "GatherND(t, j)"),
        ("reference", "Gather(t, k)"),
    ],
)
def test_an_index_beyond_its_table_is_answered_with_how_to_give_values(
    runtime: str, lookup: str, tmp_path: Path
) -> None:
    table = "<float[2] t = {1, 2}, int64 two = {2}>"
    graph = f"g (int64[8, 1] i) => (float[] y) {table} {{ j = Mul(i, two) k = Squeeze(j) y = {lookup} }}"
    case = Case(write(tmp_path / "m.onnx", graph), runtime, 8)
    with opened(case, case.model.pool(8)) as engine, pytest.raises(StudyError) as error:
        engine.outputs()
    assert str(error.value).startswith(f"m-{runtime}-batch8-threads1-native-cpu: an index is out of range (")
    assert str(error.value).endswith("); give other values with --input NAME=LOW..HIGH or --feed FILE.npz")


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_an_integer_divided_by_zero_is_answered_with_how_to_give_values(operator: str, tmp_path: Path) -> None:
    case = Case(
        write(tmp_path / "m.onnx", f"g (int64[N] i, int64[N] j) => (int64[N] y) {{ y = {operator}(i, j) }}"),
        "onnxruntime",
        8,
    )
    with opened(case, case.model.pool(8)) as engine, pytest.raises(StudyError) as error:
        engine.outputs()
    assert str(error.value).startswith("m-onnxruntime-batch8-threads1-native-cpu: an integer is divided by 0 (")
    assert str(error.value).endswith("); give other values with --input NAME=LOW..HIGH or --feed FILE.npz")


def test_a_device_that_a_runtime_does_not_support_is_refused() -> None:
    with pytest.raises(StudyError, match="--device cuda: openvino runs on cpu; leave it out"):
        find_cases([imagined("gap")], ["torch", "openvino"], [1], [1], device="cuda")


def test_torch_is_paired_with_each_other_runtime() -> None:
    models = [imagined("baseline"), imagined("gap")]
    pairs = find_pairs(find_cases(models, ["openvino", "torch", "onnxruntime"], [1, 32], [1, 2]))
    assert len({(str(reference), str(runtime)) for reference, runtime in pairs}) == len(pairs) == 2 * 2 * 2 * 2
    for reference, runtime in pairs:
        assert reference.runtime == "torch"
        assert runtime.runtime in ("openvino", "onnxruntime")
        assert reference.key == structs.replace(runtime.key, runtime="torch")


def test_without_torch_the_first_runtime_is_the_reference_and_one_alone_has_no_pair() -> None:
    cases = find_cases([imagined("gap")], ["openvino", "onnxruntime", "torch-compile"], [1], [1])
    found = [(reference.runtime, runtime.runtime) for reference, runtime in find_pairs(cases)]
    assert found == [("openvino", "onnxruntime"), ("openvino", "torch-compile")]
    assert find_pairs(cases[:1]) == []


# ---- inputs


@pytest.mark.parametrize("mode", MODES)
def test_the_images_repeat_in_their_order(gap: Model, first_images: NDArray[np.float32], mode: Mode) -> None:
    case = Case(gap, "torch", 32, mode=mode)
    with opened(case, gap.pool(32)) as engine:
        given = [next(engine.inputs) for _ in range(33)]
    arrays: Sequence[Any] = [np.asarray(*each.values()) if mode == "numpy" else each[0][0].numpy() for each in given]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert all(array.flags.c_contiguous for array in arrays)
    np.testing.assert_array_equal(np.concatenate(arrays[:32]), first_images)
    np.testing.assert_array_equal(arrays[32], first_images[:32])
    assert (first_images.min(), first_images.max()) == (0, 1)


def test_the_images_are_read_without_torch(data: Path) -> None:
    """Importing the two takes seconds in each process of a session, which may need neither."""
    script = (
        "import sys; from pathlib import Path; from bench.models import _images; "
        "_images(Path(sys.argv[1]), 'fashion-mnist', False); print({'torch', 'torchvision'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, str(data)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_load_of_onnx_runtime_does_not_search_its_library(gap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """That took 13 of 20 ms, in cold starts too; an option of the user is looked for once."""
    monkeypatch.setattr("bench.runtimes.onnx_runtime._has_entry", pytest.fail)
    with opened(Case(gap, "onnxruntime", 1), gap.pool(1)[:1]) as engine:
        assert engine.runtime.settings()["spinning"] is False


def test_the_last_batch_is_completed_from_the_beginning(gap: Model, first_images: NDArray[np.float32]) -> None:
    pool = gap.pool(7)  # 1024 = 146 * 7 + 2
    assert len(pool) == 147
    np.testing.assert_array_equal(pool[-1]["image"], first_images[[1022, 1023, 0, 1, 2, 3, 4]])


# ---- checks before the timing


@pytest.mark.parametrize("mode", MODES)
def test_an_engine_is_compared_with_torch_on_all_images(gap: Model, mode: Mode) -> None:
    found = compared(Case(gap, "onnxruntime", 32, mode=mode, against=("torch",)))
    assert found is not None
    assert (found.images, found.argmax_mismatches, found.against) == (1024, 0, "torch")
    assert 0 < found.max_abs_difference <= 1e-5


@pytest.mark.parametrize("runtime", ["Reversed", "SlightlyOff"])
def test_wrong_outputs_on_a_model_of_the_catalogue_are_refused(gap: Model, runtime: str) -> None:
    place = f"gap-{HERE}:{runtime}-batch32-threads1-native-cpu"
    limit = r"expected at most 1e-05(; 1\d\d\d? of 1024 classes differ, expected 0%)?$"
    with pytest.raises(StudyError, match=f"^{place}: output 'probabilities' .* differs from torch's by .*; {limit}"):
        compared(Case(gap, f"{HERE}:{runtime}", 32, against=("torch",)))


def test_the_limit_for_a_users_file_is_a_thousandth_of_its_largest_output(tmp_path: Path) -> None:
    case = Case(write(tmp_path / "free.onnx", LINEAR), f"{HERE}:SlightlyOff", 2, against=("onnxruntime",))
    found = compared(case)
    assert found is not None
    assert (found.images, found.against) == (16, "onnxruntime")  # eight inputs of two
    assert 0 < found.max_abs_difference < 1e-3
    for other in ("MuchOff", "Reversed"):
        with pytest.raises(
            StudyError, match=r"^free-.*: output 'y' \(float32 \[2, 2\]\) differs from onnxruntime's by "
        ):
            compared(replace(case, runtime=f"{HERE}:{other}"))


def test_an_engine_with_another_number_of_threads_is_refused_and_closed(gap: Model) -> None:
    with (
        pytest.raises(StudyError, match=r"expected 1 threads, tests\.bench\.test_cases:OtherThreads reports 2"),
        opened(Case(gap, f"{HERE}:OtherThreads", 32), gap.pool(32)),
    ):
        pytest.fail("it was opened")
    assert OtherThreads.closed == 1


def test_the_facts_of_a_model_are_those_of_its_run(gap: Model, trained: Trained) -> None:
    run = trained.artifacts.run("gap", 0)
    assert gap.parameters == read_record(run.record, RunRecord, "").parameters
    assert (gap.seed, gap.onnx_sha256) == (0, read_record(run.export, ExportRecord, "").onnx_sha256)
