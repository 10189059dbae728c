"""try.html: a page on which exported models run in the browser, as one file or from `python -m analysis serve`.

The page is the same in both; in one file its parts (the runtime, the models, the test images) are embedded as base64 of
gzip, otherwise the page asks the server for them.
"""

import base64
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.inputs import web_runtime
from analysis.pages.markup import render
from study.artifacts import Artifacts, RunFiles, current_export
from study.data import arrays
from study.data.datasets import DATASETS, Dataset
from study.errors import StudyError
from study.files import read_plain
from study.record_files import read_record
from study.records.training import RunRecord

FOLDER = Path(__file__).parent / "try"
READER = ("protobuf.js", "tensors.js", "onnx.js")
SCRIPTS = ("parts.js", *READER, "engine.js", "runtime.js", "images.js", "models.js", "dropped.js", "main.js")
WORKER = ("engine.js", "worker.js")
IMAGES = 200
"""Test images on the page: the first ones."""


@dataclass(frozen=True)
class Page:
    """The page, and what it asks for: file content compressed by gzip, by name."""

    html: str
    parts: Mapping[str, bytes]


def page(artifacts: Artifacts, runs: Sequence[RunFiles], embedded: bool) -> Page:
    """The page on the first run of each model.

    Args:
        embedded: put the parts into the page itself.

    Raises:
        StudyError: the runtime has not been fetched, or the file of a run is missing, damaged or of another training.
    """
    parts = web_runtime.read(artifacts)
    firsts = {run.model: run for run in reversed(runs)}
    models, titles = [], set()
    for number, run in enumerate(run for run in runs if firsts[run.model] is run):
        record = read_record(run.record, RunRecord, f"run `python -m train {run.model}`")
        export = current_export(run)
        name = f"model{number}.onnx"
        parts[name] = _compressed(read_plain(run.onnx, None))
        titles.add(record.dataset.name)
        models.append(
            {
                "name": run.model,
                "seed": run.seed,
                "part": name,
                "bytes": export.bytes,
                "parameters": record.parameters,
                "testError": record.test_error,
            }
        )
    dataset = next((one for one in DATASETS.values() if titles == {one.title}), None)
    shown = {"version": web_runtime.VERSION, "models": models, "images": _images(artifacts, dataset, parts)}
    values = {"study": shown, "embedded": _embedded(parts) if embedded else {}, "dataset": dataset}
    return Page(_with_assets(render("try.html.j2", "html", **values)), parts)


def _images(artifacts: Artifacts, dataset: Dataset | None, parts: dict[str, bytes]) -> dict[str, object] | None:
    """What the page must know of the test images, which become one more part; None where there are none."""
    if dataset is None:
        return None
    try:
        images, labels = arrays.read(artifacts.data, False, dataset.name)
    except StudyError:
        return {"count": 0, "shape": dataset.shape, "classes": dataset.classes}
    some, classes = images[:IMAGES], labels[:IMAGES]
    parts["images"] = _compressed(some.tobytes() + classes.tobytes())
    return {"count": len(some), "shape": dataset.shape, "classes": dataset.classes}


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _embedded(parts: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in parts.items()}


def _with_assets(html: str) -> str:
    """The page with its style and its script, which are no templates, and the policy that allows these two alone."""
    style = (FOLDER / "try.css").read_text(encoding="utf-8")
    script, worker = map(_joined, (SCRIPTS, WORKER))
    html = html.replace('id="worker"></script>', f'id="worker">{worker}</script>')
    for tag, text in (("style", style), ("script", script)):
        html = html.replace(f"<{tag}></{tag}>", f"<{tag}>{text}</{tag}>")
        html = html.replace(
            f"{tag}-hash", f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'", 1
        )
    return html


def _joined(scripts: Sequence[str]) -> str:
    return '"use strict";\n' + "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in scripts)
