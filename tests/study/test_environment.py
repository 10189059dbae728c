"""An environment in words, and what importing an engine must not leave."""

import os
import subprocess
import sys
from pathlib import Path

from msgspec import structs

from study.environment import describe, versions
from tests.conftest import ROOT
from tests.support.records import BENCH_ENVIRONMENT, ENVIRONMENT


def test_an_environment_in_words() -> None:
    machine = {"cpu": "X1", "cores": 4, "memory_bytes": 8 * 2**30, "system": "Linux-6", "python": "3.11.7"}
    made = {**machine, "packages": {"torch": "2.13.0", "onnx": "1.23"}, "commit": "0123456789abcdef", "dirty": True}
    versions = "Python 3.11.7, torch 2.13.0, onnx 1.23"
    trained = describe(structs.replace(ENVIRONMENT, **made))
    assert str(trained) == f"X1, 4 cores, 8 GiB, Linux-6, {versions}; commit 0123456789ab with uncommitted changes"
    settings = {"governor": "performance", "turbo": False, "quota_cores": 1.5, "commit": None}
    measured = describe(structs.replace(BENCH_ENVIRONMENT, **made | settings))
    assert measured.machine == "X1, 4 cores (quota 1.5), 8 GiB, machine 0123456789ab"
    assert measured.setup == "governor performance, turbo off, Linux-6"
    assert (measured.versions, measured.commit) == (versions, "no commit known")


def test_the_versions_of_all_engines_are_recorded() -> None:
    engines = {"torch", "onnxruntime", "openvino", "opencv-python-headless", "tract", "ncnn", "pnnx"}
    assert engines <= versions().keys()


def test_onnxruntime_writes_nothing_to_the_home_folder_and_starts_no_thread(tmp_path: Path) -> None:
    """1.31 writes an identity and a database there, and sends events to a host, unless it is told not to."""
    count = "len(os.listdir(t)) if os.path.exists(t) else threading.active_count()"
    script = f"import study, onnxruntime, threading, os; t = '/proc/self/task'; print({count})"
    environment = {**os.environ, "HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    output = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, env=environment, text=True)
    assert output.strip() == "1"
    assert list(tmp_path.iterdir()) == []
