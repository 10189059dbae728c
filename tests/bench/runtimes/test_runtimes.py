"""The engines: each computes the same, uses the requested threads and precision, and ends its threads."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from bench import session_folder
from bench.cases import MODES, Case, opened
from bench.models import Model
from bench.runtimes import RUNTIMES, Setting, conversions, find
from study import checkpoints
from study.errors import StudyError
from study.onnx_given import Given
from tests.conftest import ROOT, Trained

BATCH = 7
TORCH = ("torch", "torch-channels-last", "torch-compile", "torch-aoti", "torch-jit")
ALL: tuple[str, ...] = (*TORCH, "onnxruntime", "onnxruntime-iobinding", "onnxruntime-spinning")
ALL += ("openvino", "opencv", "tract", "ncnn", "reference")

ELSEWHERE = ("torch-sparse", "onnx2fx", "onnx2torch")
"""Those with tests of their own."""


@pytest.fixture(autouse=True)
def _restore_torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def by_torch(gap: Model) -> NDArray[Any]:
    """Probabilities of the first two batches from the trained network itself, without the bench."""
    assert gap.entry is not None
    assert gap.run is not None
    images = np.concatenate([given["image"] for given in gap.pool(BATCH)[:2]])
    with torch.no_grad():
        found: NDArray[Any] = checkpoints.load(gap.entry, gap.run)(torch.from_numpy(images)).softmax(1).numpy()
    return found


@pytest.mark.parametrize("runtime", ALL)
def test_every_runtime_computes_the_probabilities_of_torch(gap: Model, by_torch: NDArray[Any], runtime: str) -> None:
    pool = gap.pool(BATCH)[:2]
    for mode in MODES:
        with opened(Case(gap, runtime, BATCH, mode=mode), pool) as engine, engine.runtime.context():
            found = np.concatenate([probabilities for (probabilities,) in engine.outputs()])
            once = engine.once()
            if mode == "numpy":
                assert [type(array) for array in once] == [np.ndarray]
        assert found.shape == (2 * BATCH, 10)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, by_torch, rtol=0, atol=1e-5)
    assert by_torch.std() > 0.01, "the images have different probabilities"


EXPECTED: dict[str, dict[str, Any]] = {
    "torch": {"device": "cpu", "subnormals_flushed": False},
    "torch-channels-last": {"device": "cpu", "memory_format": "channels_last"},
    "torch-compile": {"device": "cpu", "subnormals_flushed": False},
    "torch-aoti": {"compiler": "aotinductor", "freezing": True, "dynamic": False},
    "torch-jit": {"device": "cpu", "subnormals_flushed": False},
    "onnxruntime": {
        **{"device": "cpu", "provider": "CPUExecutionProvider", "interop_threads": 1},
        **{"spinning": False, "subnormals_flushed": False},
    },
    "onnxruntime-iobinding": {"spinning": False, "io_binding": True},
    "onnxruntime-spinning": {"spinning": True, "subnormals_flushed": False},
    "openvino": {"device": "cpu", "streams": 1, "precision": "f32"},
    "opencv": {"device": "cpu"},
    "tract": {"device": "cpu"},
    "ncnn": {"device": "cpu", "half_precision": False, "images_at_once": 1},
    "reference": {"device": "cpu", "arithmetic": "numpy"},
}


def test_every_engine_reports_its_settings(gap: Model) -> None:
    assert tuple(name for name in RUNTIMES if name not in ELSEWHERE) == ALL == tuple(EXPECTED)
    for runtime in ALL:
        for threads in (1,) if runtime == "tract" else (1, 2):
            loaded = find(runtime)(gap, Setting(threads))
            try:
                found = loaded.settings()
            finally:
                loaded.close()
            assert found["threads"] == threads
            assert found.items() >= EXPECTED[runtime].items()
            assert json.loads(json.dumps(found)) == found
    with pytest.raises(StudyError, match=r"^tract runs on one thread, not 2; measure it with --threads 1$"):
        find("tract")(gap, Setting(2))


def test_numpy_has_its_threads_back_after_the_reference_runtime(gap: Model) -> None:
    before = ThreadpoolController().info()
    find("reference")(gap, Setting(1)).close()
    assert ThreadpoolController().info() == before


def test_ncnn_converts_a_model_once_a_session(gap: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(session_folder.FOLDER, str(tmp_path))
    beside = sorted(gap.onnx.parent.iterdir())
    find("ncnn")(gap, Setting(1)).close()
    (made,) = tmp_path.iterdir()
    assert {path.name for path in made.iterdir()} >= {"model.ncnn.param", "model.ncnn.bin"}
    assert sorted(gap.onnx.parent.iterdir()) == beside
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)  # there is no converter any more
    find("ncnn")(gap, Setting(1)).close()
    assert list(tmp_path.iterdir()) == [made]


def test_converted_files_differ_by_model_shapes_and_converter(
    gap: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(session_folder.FOLDER, str(tmp_path))
    shaped = replace(gap, given=Given({"image": (1, 1, 28, 28)}))
    subjects = [(gap, "a"), (gap, "b"), (replace(gap, onnx_sha256="0" * 64), "a"), (shaped, "a"), (gap, "a")]
    calls: list[Path] = []
    made = [conversions.converted(model, converter, calls.append) for model, converter in subjects]
    assert len(set(made)) == len(calls) == 4
    assert made[0] == made[-1]


def test_a_conversion_that_fails_is_tried_again(gap: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(session_folder.FOLDER, str(tmp_path))

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise StudyError("no")

    with pytest.raises(StudyError, match=r"^no$"):
        conversions.converted(gap, "a", fail)
    assert list(tmp_path.iterdir()) == []
    assert list(conversions.converted(gap, "a", lambda folder: (folder / "whole").touch()).iterdir()) != []


def test_the_folder_of_a_session_is_inherited_and_ends_with_it(tmp_path: Path) -> None:
    child = "import os; from bench.session_folder import folder; print(folder())"
    script = f"""
import subprocess, sys
from bench.session_folder import folder
mine = folder()
other = subprocess.check_output([sys.executable, "-c", {child!r}], text=True).strip()
print(mine.is_dir(), other == str(mine), mine.is_dir(), mine)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop(session_folder.FOLDER, None)
    output = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, env=environment, text=True)
    assert output.split()[:3] == ["True"] * 3
    assert Path(output.split()[3]).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_ncnn_names_the_converter_that_it_needs(gap: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(session_folder.FOLDER, str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StudyError, match=r"^ncnn needs the converter pnnx; run `pip install pnnx`$"):
        find("ncnn")(gap, Setting(1))


def test_torch_reports_that_it_flushes_subnormal_numbers(gap: Model) -> None:
    loaded = find("torch")(gap, Setting(1))
    if not torch.set_flush_denormal(True):
        assert loaded.settings()["subnormals_flushed"] is False
        return
    try:
        assert loaded.settings()["subnormals_flushed"] is True
    finally:
        torch.set_flush_denormal(False)


def test_torch_is_in_evaluation_and_inference_mode(gap: Model) -> None:
    with opened(Case(gap, "torch", BATCH), gap.pool(BATCH)) as engine, engine.runtime.context():
        found = engine.once()
        assert found.is_inference()
        assert (found.requires_grad, found.grad_fn) == (False, None)
        modules: Any = engine.runtime
        assert not any(module.training for module in modules.network.modules())


def test_arrays_that_onnx_runtime_would_copy_are_refused(gap: Model) -> None:
    loaded = find("onnxruntime")(gap, Setting(1))
    with pytest.raises(ValueError, match="not contiguous"):
        loaded.to_native({"image": np.zeros((28, 28, 1, 7), np.float32).T})
    loaded.close()


# ---- threads, counted by the kernel, each engine in a process of its own

COUNT = """
import json, os, sys
from pathlib import Path
from bench.plan import limit_threads
limit_threads(2)
from bench.models import from_catalogue
from bench.runtimes import Setting, find
from study.artifacts import Artifacts
from study.catalogue import entry

def threads():
    return len(os.listdir("/proc/self/task"))

def products():
    import torch
    x = torch.ones(1000, 1000)
    return x @ x

model, name = from_catalogue(Artifacts(Path(sys.argv[1])), entry("gap")), sys.argv[2]
given = model.pool(256)[0]
find(name)(model, Setting(1)).close()  # threads that the engine starts once and keeps
found = []
for count in 1, 2, 3, 2:
    before = threads()
    loaded = find(name)(model, Setting(count))
    with loaded.context():
        native = loaded.to_native(given)
        for _ in range(3):
            loaded.run(native)
            if name == "torch":
                products()
    during = threads()
    del native
    loaded.close()
    found.append((count, during - before, threads() - before))
print(json.dumps(found))
"""


def count_threads(trained: Trained, runtime: str) -> list[list[int]]:
    """For one, two, three and two threads: the additional threads while the engine is loaded, and after it is closed.

    numpy has no threads of its own here, because their number varies.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COUNT, str(trained.artifacts.root), runtime]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[list[int]] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux lists the threads of a process")
@pytest.mark.parametrize("runtime", ["onnxruntime", "torch", "opencv", "ncnn"])
def test_n_threads_are_the_caller_and_n_minus_1_others_which_end_with_the_engine(
    trained: Trained, runtime: str
) -> None:
    # threads that have ended cannot slow down the next engine
    assert count_threads(trained, runtime) == [[1, 0, 0], [2, 1, 0], [3, 2, 0], [2, 1, 0]]


# ---- what is refused, in one line


class Half:
    """A part of a runtime."""

    devices, needs_checkpoint, run = ("cpu",), False, None


def test_a_missing_or_incomplete_runtime_is_refused() -> None:
    for name, message in {
        "tensorrt": "no runtime is called 'tensorrt'; there are: torch, torch-channels-last, torch-compile, ",
        "": "no runtime is called ''",
        "nowhere.engine:Mine": "nowhere.engine:Mine cannot be imported: No module named 'nowhere'$",
        "bench.runtimes:Mine": "cannot be imported: module 'bench.runtimes' has no attribute",
        "a-b:Mine": "the runtime a-b:Mine cannot be imported: ",
        f"{__name__}:Half": "Half has no settings, to_native, to_numpy, context, close; see bench/runtimes/",
    }.items():
        with pytest.raises(StudyError, match=message) as error:
            find(name)
        assert "\n" not in str(error.value)


def test_an_engine_that_is_not_installed_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for runtime, module, package in (
        ("openvino", "openvino", "openvino"),
        ("opencv", "cv2", "opencv-python-headless"),
        ("tract", "tract", "tract"),
        ("ncnn", "ncnn", "ncnn"),
        ("reference", "threadpoolctl", "threadpoolctl"),
    ):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
        monkeypatch.delitem(sys.modules, RUNTIMES[runtime].partition(":")[0], raising=False)
        message = rf"^the runtime {runtime} cannot be imported: .*; run `pip install {package}`$"
        with pytest.raises(StudyError, match=message):
            find(runtime)


def test_a_file_that_an_engine_does_not_load_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no model")
    for runtime in ("onnxruntime", "openvino", "opencv", "tract", "reference"):
        with pytest.raises(StudyError, match=rf"^{path}: .* does not load it: ") as error:
            find(runtime)(Model("bad", path, ""), Setting(1))
        assert "\n" not in str(error.value)
    for runtime in TORCH:
        with pytest.raises(StudyError, match="torch has no network of an ONNX file"):
            find(runtime)(Model("bad", path, ""), Setting(1))


def test_a_missing_gpu_is_refused(gap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(StudyError, match=r"^--device cuda: torch finds no GPU here"):
        find("torch")(gap, Setting(1, "cuda"))
    with pytest.raises(StudyError, match=r"^--device cuda: this onnxruntime has no CUDAExecutionProvider"):
        find("onnxruntime")(gap, Setting(1, "cuda"))


def test_the_documented_runtime_of_ones_own_works(
    gap: Model, by_torch: NDArray[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, section = (ROOT / "docs/runtimes.md").read_text().split("A runtime of your own is a class")
    (tmp_path / "my_runtime.py").write_text(section.split("```python\n")[1].split("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    pool = gap.pool(BATCH)[:2]
    with opened(Case(gap, "my_runtime:Unoptimised", BATCH), pool) as engine, engine.runtime.context():
        found = np.concatenate([probabilities for (probabilities,) in engine.outputs()])
    np.testing.assert_allclose(found, by_torch, rtol=0, atol=1e-5)
