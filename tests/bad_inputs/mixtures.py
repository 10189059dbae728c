"""Rows with files that are whole and do not belong together."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from study.artifacts import Artifacts
from tests.bad_inputs.damage import Damage
from tests.bad_inputs.files import ANALYSIS, BENCH, RUN
from tests.bad_inputs.rows import Row
from tests.support.records import case, comparison
from tests.support.study import edit_json, layers, seal_tables, write_bench, write_predictions, write_run


def _model_replaced(folder: Path) -> None:
    shutil.copy(folder / "relu.onnx", folder / RUN / "model.onnx")


def _module_replaced(folder: Path) -> None:
    shutil.copy(folder / "relu.onnx", folder / "artifacts/modules/plain/model.onnx")


def _another_checkpoint(folder: Path) -> None:
    edit_json(folder / RUN / "export.json", checkpoint_sha256="0" * 64)


def _another_run(folder: Path) -> None:
    write_run(Artifacts(folder / "artifacts"), "gap", 0, layers(0))
    shutil.copy(folder / "artifacts/models/gap/seed0/run.json", folder / RUN / "run.json")


def _another_seed(folder: Path) -> None:
    edit_json(folder / RUN / "run.json", seed=7)


def _another_history(folder: Path) -> None:
    path = folder / RUN / "history.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    seal_tables(folder / RUN)


def _history(line: str) -> Damage:
    """The first epoch of history.csv is this row, with the digest that it has then."""

    def change(folder: Path) -> None:
        path = folder / RUN / "history.csv"
        rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join([rows[0], f"{line}\n", *rows[2:]]))
        seal_tables(folder / RUN)

    return change


def _other_predictions(folder: Path) -> None:
    write_predictions(folder / RUN / "predictions.csv", [1] * 500 + [0] * 500)


def _other_images(folder: Path) -> None:
    write_run(Artifacts(folder / "artifacts"), "gap", 0, layers(0))
    path = folder / "artifacts/models/gap/seed0/predictions.csv"
    path.write_text("label,predicted\n" + "0,1\n" * 80 + "0,0\n" * 920)
    seal_tables(path.parent)


def _another_search(folder: Path) -> None:
    made = folder / "artifacts/search/baseline/search.json"
    made.parent.mkdir()
    shutil.copy(folder / "artifacts/search/gap/search.json", made)


def _measured_twice(folder: Path) -> None:
    artifacts = Artifacts(folder / "artifacts")
    write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, 1e-4)] * 2)


def _other_models(folder: Path) -> None:
    artifacts = Artifacts(folder / "artifacts")
    write_bench(artifacts, [case(artifacts, "gap", "torch", 1, 1e-4)], [comparison(artifacts, "gap", 1, 5, 4.9, 5.1)])


def _swapped(folder: Path) -> None:
    shutil.copy(folder / RUN / "run.json", folder / "artifacts/bench.json")


def _run_for_search(folder: Path) -> None:
    shutil.copy(folder / RUN / "run.json", folder / "artifacts/search/gap/search.json")


def _bad_feed(folder: Path) -> None:
    np.savez(folder / "x.npz", nosuch=np.ones(3))


def _pickled_feed(folder: Path) -> None:
    np.savez(folder / "x.npz", x=np.array([{}]))


RESULTS = "analysis results --artifacts {dir}/artifacts --output {dir}/results.md"
MIXED: Mapping[str, tuple[str, Damage, str]] = {
    "another ONNX file": (ANALYSIS, _model_replaced, "model.onnx: expected sha256"),
    "another module's ONNX file": (
        "analysis --models plain --artifacts {dir}/artifacts",
        _module_replaced,
        "model.onnx: expected sha256",
    ),
    "an export of another checkpoint": (ANALYSIS, _another_checkpoint, "was made from another checkpoint"),
    "the record of another model": (ANALYSIS, _another_run, "expected baseline with seed 0, found gap"),
    "the record of another seed": (ANALYSIS, _another_seed, "found baseline with seed 7"),
    "a shorter history": (ANALYSIS, _another_history, "expected the 3 epochs of run.json, found 2"),
    "a negative learning rate": (ANALYSIS, _history("1,-5,1,0.5,,,3"), "expected epoch 1"),
    "a loss of 1e300": (ANALYSIS, _history("1,0.05,1e300,0.5,,,3"), "expected epoch 1"),
    "an error above 1": (ANALYSIS, _history("1,0.05,1,1.5,,,3"), "expected epoch 1"),
    "an error of nan": (ANALYSIS, _history("1,0.05,1,nan,,,3"), "expected epoch 1"),
    "seconds of inf": (ANALYSIS, _history("1,0.05,1,0.5,,,inf"), "expected epoch 1"),
    "other predictions": (ANALYSIS, _other_predictions, "expected the test error of run.json"),
    "predictions of other images": (
        "analysis --models baseline,gap --artifacts {dir}/artifacts",
        _other_images,
        "not tested on the same images",
    ),
    "the search of another model": (RESULTS, _another_search, "expected a search of baseline, found one of gap"),
    "a run for a search": (RESULTS, _run_for_search, "expected schema 'search/"),
    "a run for a bench file": (ANALYSIS, _swapped, "expected the pytest-benchmark JSON"),
    "a case measured twice": (ANALYSIS, _measured_twice, "expected each measurement once"),
    "a bench file of other models": (f"bench compare {BENCH} {{dir}}/new.json", _other_models, ""),
    "a feed for another model": (
        "pytest bench --onnx {dir}/relu.onnx --feed {dir}/x.npz --runtimes onnxruntime",
        _bad_feed,
        "nosuch",
    ),
    "a feed of objects": (
        "pytest bench --onnx {dir}/relu.onnx --feed {dir}/x.npz --runtimes onnxruntime",
        _pickled_feed,
        "x.npz",
    ),
}


def rows() -> Iterator[Row]:
    for name, (words, change, answer) in MIXED.items():
        yield Row(name, words, answer, change)
