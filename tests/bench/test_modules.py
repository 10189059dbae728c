"""A torch module of the user in the bench: exported once by the command, then measured and refused like any model."""

import os
import stat
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from analysis import __main__ as analysis
from bench import cold_start, session_folder
from bench.ab.protocol import Load
from bench.ab.sides import side
from bench.cases import Case, compile_ahead, find_cases, opened
from bench.models import Model, from_module
from bench.parity import expected, parity
from bench.runtimes import conversions, find
from bench.runtimes.torch_compiled import CompiledTorch
from bench.sampling import Budget
from bench.session import Session
from study.artifacts import Artifacts
from study.errors import StudyError
from study.modules.building import rebuild
from study.modules.files import current_module, module_files
from study.onnx_given import Given
from tests.bench.test_plan import planned as planned  # the fixture
from tests.conftest import run

SOURCE = """
from torch import nn

class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head, self.filters = nn.Embedding(9, 4), nn.Linear(4, 3), nn.Conv2d(2, 3, 3)

    def forward(self, ids, keep, image):
        scores = self.head((self.words(ids) * keep[..., None]).mean(1))
        return {"scores": scores, "image": self.filters(image).mean((2, 3)), "best": scores.argmax(1)}
"""
INPUTS = ("ids=int64[batch,length]:0..8", "keep=bool[batch,length]", "image=float32[batch,2,5,5]")
BATCH, LENGTH = 3, 6


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "mixed.py").write_text(SOURCE)
    words = [word for one in INPUTS for word in ("--input", one)]
    place = f"{folder / 'mixed.py'}:Mixed"
    done = run("export", "--module", place, *words, "--size", f"length={LENGTH}", "--artifacts", folder)
    assert done.returncode == 0, done.stderr
    return Artifacts(folder)


@pytest.fixture
def mixed(artifacts: Artifacts) -> Model:
    return from_module(module_files(artifacts, "Mixed"))


RUNTIMES = ("torch", "torch-channels-last", "torch-jit", "onnxruntime-iobinding", "onnxruntime-spinning")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("mode", ["native", "numpy"])
def test_every_setting_computes_what_the_module_computes(mixed: Model, runtime: str, mode: str) -> None:
    pool = mixed.pool(BATCH)[:3]
    assert mixed.module
    network = rebuild(current_module(mixed.module)).network  # without the bench
    with opened(Case(mixed, runtime, BATCH, mode=mode), pool) as engine, engine.runtime.context():  # type: ignore[arg-type]
        calls = engine.outputs()
    for given, found in zip(pool, calls, strict=True):
        with torch.no_grad():
            wanted = network(**{name: torch.from_numpy(array) for name, array in given.items()})
        assert len(found) == 3
        for name, one in zip(("scores", "image", "best"), found, strict=True):
            np.testing.assert_allclose(np.asarray(one), wanted[name].numpy(), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(np.asarray(calls[0][0]), np.asarray(calls[1][0])), (
        "outputs of different inputs are not one buffer"
    )


def test_what_is_compiled_serves_the_next_load_of_the_process(mixed: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    case, pool = Case(mixed, "torch-jit", BATCH, against=("torch",)), mixed.pool(BATCH)
    compile_ahead(case, pool)
    monkeypatch.setattr(CompiledTorch, "_first", None)  # which would compile
    with opened(case, pool) as engine, engine.runtime.context():
        compared, reasons = parity(engine, engine.outputs(), expected(case, pool))
    assert (compared and compared.against, reasons) == ("torch", [])


def test_what_does_not_compile_fails_in_one_line(mixed: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("No working C++ compiler found in\ntorch._inductor.config.cpp.cxx")

    monkeypatch.setattr(torch, "compile", fail)
    monkeypatch.setattr(torch.jit, "trace", fail)
    for runtime, message in (("torch-compile", "torch.compile"), ("torch-jit", "torch.jit")):
        with pytest.raises(
            StudyError, match=rf"^Mixed: {message} fails \(it finds no C\+\+ compiler; install"
        ) as error:
            compile_ahead(Case(mixed, runtime, 5), mixed.pool(5))
        assert "\n" not in str(error.value)


def test_channels_last_is_left_out_where_no_input_has_four_dimensions(
    mixed: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [one.runtime for one in find_cases([mixed], ["torch", "torch-channels-last"], [1], [1])] == [
        "torch",
        "torch-channels-last",
    ]
    monkeypatch.setattr("bench.runtimes.pytorch.input_ranks", lambda _: [2, 2])
    assert [one.runtime for one in find_cases([mixed], ["torch", "torch-channels-last"], [1], [1])] == ["torch"]
    with pytest.raises(StudyError, match="channels_last orders inputs of 4 dimensions, found 2 dimensions, 2 dimens"):
        find_cases([mixed], ["torch-channels-last"], [1], [1])


def test_a_package_of_code_is_loaded_only_where_nobody_else_can_write(
    mixed: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(session_folder.FOLDER, str(tmp_path))
    tmp_path.chmod(0o700)

    def make(folder: Path) -> None:
        (folder / "code").write_bytes(b"code")
        conversions.record_hashes(folder)

    made = conversions.converted(mixed, "a compiler", make)
    assert stat.S_IMODE((made / "code").stat().st_mode) == 0o600
    conversions.verify_all()
    for path in (tmp_path, made, made / "code"):
        path.chmod(path.stat().st_mode | stat.S_IWGRP)
        with pytest.raises(StudyError, match="expected a file of code that this user alone can write"):
            conversions.verified(made)
        path.chmod(path.stat().st_mode & ~stat.S_IWGRP)
    (made / "code").write_bytes(b"other code")
    with pytest.raises(StudyError, match="code is not the file that was made"):
        conversions.verified(made)
    (made / "code").unlink()
    (made / "code").symlink_to(os.devnull)
    with pytest.raises(StudyError, match="this user alone"):
        conversions.verified(made)


def test_a_cold_start_builds_the_module_again(mixed: Model) -> None:
    found = cold_start.measure(Case(mixed, "torch", BATCH), Budget(seconds=0.1, quick=True))
    assert found.load_seconds.median > 0
    assert (found.key.model, found.key.runtime) == ("Mixed", "torch")


def test_a_side_of_ab_is_a_module_by_its_folder_or_its_name(artifacts: Artifacts, mixed: Model) -> None:
    assert mixed.module
    common = Namespace(threads=1, mode="native", device="cpu", catalogue=None, artifacts=artifacts.root, tolerance=None)
    for word in ("Mixed,runtime=torch", f"{mixed.module.folder},runtime=torch"):
        request = side("A", word, common, Given()).request
        assert request.module == str(mixed.module.folder.resolve())
        assert msgspec.json.decode(msgspec.json.encode(request), type=Load) == request
    with pytest.raises(StudyError, match="Mixed is a torch module: variant applies to a trained model"):
        side("A", "Mixed,variant=int8-static", common, Given())


def test_a_module_whose_code_has_changed_since_its_export_is_not_measured(mixed: Model, artifacts: Artifacts) -> None:
    source, files = artifacts.root / "mixed.py", module_files(artifacts, "Mixed")
    source.write_text(f"{SOURCE}# later")
    try:
        command = rf"run `python -m export Mixed --artifacts={artifacts.root}` again"
        with pytest.raises(StudyError, match=rf"^{source} has changed since Mixed was exported; {command}$"):
            from_module(files)
    finally:
        source.write_text(SOURCE)
    from_module(files)
    source.rename(artifacts.root / "elsewhere")
    try:
        from_module(files)  # of another machine, where only the ONNX file can run
    finally:
        (artifacts.root / "elsewhere").rename(source)


def test_an_entry_that_says_something_else_than_was_exported_is_not_measured_by_its_name(
    artifacts: Artifacts, planned: Callable[..., Session]
) -> None:
    same, entries, given = (
        artifacts.root / "same.py",
        artifacts.root / "entries.py",
        ["--models", "Mixed", "--artifacts", str(artifacts.root)],
    )
    written = (
        "from study.entry import Entry\nENTRIES = (Entry('Mixed', 'mixed.py:Mixed', inputs={}, sizes=('length={}',)),)"
    )
    words = [*given, "--catalogue", str(entries)]
    same.write_text(written.format(INPUTS, LENGTH))
    assert planned(*given, "--catalogue", str(same), "--runtimes", "onnxruntime", "--batches", "1").cases
    entries.write_text(written.format(INPUTS, 8))
    message = "^Mixed was exported with sizes length=6 instead of length=8; run "
    with pytest.raises(StudyError, match=f"{message}with --export$"):
        planned(*words)
    common = Namespace(
        threads=1, mode="native", device="cpu", catalogue=entries, artifacts=artifacts.root, tolerance=None
    )
    with pytest.raises(StudyError, match=f"{message}`python -m export Mixed --catalogue={entries}`$"):
        side("A", "Mixed", common, Given())
    with pytest.raises(StudyError, match=f"{message}`python -m export Mixed --catalogue={entries}`$"):
        analysis.main(words)


def test_a_feed_replaces_the_inputs_that_are_drawn(mixed: Model, tmp_path: Path) -> None:
    assert mixed.module
    one = mixed.pool(2)[0]
    np.savez(tmp_path / "feed.npz", image=2 * one["image"], ids=one["ids"])
    fed = from_module(mixed.module, [tmp_path / "feed.npz"])
    assert fed.batch_sizes([1, 32]) == [2]
    (first, *_) = fed.pool(2)
    np.testing.assert_array_equal(first["image"], 2 * one["image"])
    assert first["keep"].dtype == bool
    np.savez(tmp_path / "wrong.npz", pixels=one["image"])
    with pytest.raises(StudyError, match=r"^Mixed: .*pixels"):
        from_module(mixed.module, [tmp_path / "wrong.npz"])


def test_random_weights_are_in_the_notes(planned: Callable[..., Session], artifacts: Artifacts) -> None:
    words = ["--module", f"{artifacts.root / 'mixed.py'}:Mixed", "--artifacts", str(artifacts.root)]
    words += [word for one in INPUTS for word in ("--input", one)]
    session = planned(*words, "--batches", "1,4", "--runtimes", "torch,openvino,onnxruntime", "--threads", "2")
    assert [case.runtime for case in session.cases if case.batch == 1] == ["torch", "openvino", "onnxruntime"]
    assert any(note.startswith("Mixed: random weights, of torch.manual_seed(0)") for note in session.notes)
    with pytest.raises(StudyError, match="--shape applies to a file given with --onnx; the shapes of a module are in"):
        planned(*words, "--shape", "ids=1,2")


def test_engines_let_go_of_the_weights_when_they_are_closed(mixed: Model) -> None:
    for runtime in ("torch", "torch-channels-last"):
        with opened(replace(Case(mixed, runtime, 1)), mixed.pool(1)) as engine:
            pass
        assert not any(isinstance(one, torch.nn.Module) for one in vars(engine.runtime).values())
    assert find("torch-aoti").compiles
