"""The machine, package versions and commit behind a result: read from the system, and described in words."""

import contextlib
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from study.cores import cores
from study.processor import cpu_name
from study.records.base import Environment

COMMIT = "STUDY_COMMIT"
"""Environment variable with the commit of a copy of this repository without its history: DIGITS or DIGITS-dirty."""
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
    "tract",
    "ncnn",
    "pnnx",
    "pytest-benchmark",
)
"""What is timed, and what times it."""


@dataclass(frozen=True)
class Description:
    """An environment in words; as a string, all of it."""

    machine: str
    """Such as "AMD EPYC, 2 cores, 24 GiB"; of a bench.json with the fingerprint, by which two such machines differ."""
    setup: str
    """Frequency governor and turbo where they are known, and the operating system."""
    versions: str
    """Of Python and the packages."""
    commit: str

    def __str__(self) -> str:
        return f"{self.machine}, {self.setup}, {self.versions}; {self.commit}"


def describe(environment: Environment) -> Description:
    """The environment of a JSON file in words."""
    # Only a bench.json records how fast the machine may be.
    settings_of_bench = ("quota_cores", "turbo", "governor", "fingerprint")
    quota, turbo, governor, fingerprint = (getattr(environment, name, None) for name in settings_of_bench)
    identity = "" if fingerprint is None else f", machine {fingerprint}"
    share = "" if quota is None else f" (quota {quota:g})"
    settings = [f"governor {governor}" if governor else "", {True: "turbo on", False: "turbo off", None: ""}[turbo]]
    packages = (f"{name} {version}" for name, version in environment.packages.items())
    dirty = " with uncommitted changes" if environment.dirty else ""
    memory = f"{environment.memory_bytes / 2**30:.0f} GiB"
    return Description(
        machine=f"{environment.cpu}, {environment.cores} cores{share}, {memory}{identity}",
        setup=", ".join(filter(None, (*settings, environment.system))),
        versions=", ".join((f"Python {environment.python}", *packages)),
        commit=f"commit {environment.commit[:12]}{dirty}" if environment.commit else "no commit known",
    )


def environment() -> Environment:
    """The machine, the versions of the installed packages and the commit of this repository."""
    revision, dirty = commit()
    return Environment(
        cpu=cpu_name(),
        cores=cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        python=platform.python_version(),
        packages=versions(),
        commit=revision,
        dirty=dirty,
    )


def versions() -> dict[str, str]:
    """Versions of the installed packages among PACKAGES."""
    installed = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


def commit() -> tuple[str, bool] | tuple[None, None]:
    """The commit of this file's repository, and whether there are uncommitted changes; None outside git."""
    if stated := os.environ.get(COMMIT):
        return stated.removesuffix("-dirty"), stated.endswith("-dirty")
    root = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(("git", "-C", str(root), *words), capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip(), bool(git("status", "--porcelain").strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None
