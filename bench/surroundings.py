"""The environment of a session: its machine, versions, command line, and the files it measures."""

import os
import subprocess
from collections.abc import Collection, Sequence

from msgspec import convert

from bench.cases import Case
from study.data import datasets
from study.environment import environment
from study.files import sha256
from study.machine import machine
from study.record_files import as_json
from study.records.bench import BenchEnvironment


def surroundings(cases: Sequence[Case], words: Sequence[str], cpus: Collection[int] | None = None) -> BenchEnvironment:
    """The environment at the beginning of a session, with its command line and the hashes of the files it measures.

    Args:
        cpus: those of the option `--cpus`.
    """
    files: dict[str, str] = {}
    for model in {id(case.model): case.model for case in cases}.values():
        files[f"{model.name}/{model.onnx.name}"] = model.onnx_sha256
        if model.data is not None:
            assert model.entry is not None
            images = model.data / datasets.find(model.entry.dataset).test_file
            files[images.name] = files.get(images.name) or sha256(images)
    loads = {"load_before": load_average(), "load_after": None}
    gpu = gpu_name() if any(case.device == "cuda" for case in cases) else None
    return convert(
        {
            **as_json(environment()),
            **machine(cpus=cpus),
            **loads,
            "files_sha256": files,
            "gpu": gpu,
            "command": list(map(str, words)),
        },
        BenchEnvironment,
    )


def gpu_name() -> str | None:
    """Model and driver of the first GPU, from nvidia-smi."""
    query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def load_average() -> float | None:
    """The one-minute load average."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
