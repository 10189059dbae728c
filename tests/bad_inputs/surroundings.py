"""Rows in which the files and the words are sound and the machine is not, and names with odd characters."""

import ctypes
import os
import resource
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from tests.bad_inputs.files import ANALYSIS, BENCH, RUN, at
from tests.bad_inputs.rows import Row

FEW_BYTES = 100
CAPABILITIES_3 = 0x20080522
"""Version of the structures of capset(2)."""
OVERRIDE = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root reads and writes everything."""


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may become longer than some bytes: what is written fails as on a full disk, with EFBIG for ENOSPC.

    Python would keep the first bytes of a module that it compiles, as if they were all.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    no_bytecode = {"PYTHONDONTWRITEBYTECODE": "1"}
    with patch.object(sys, "dont_write_bytecode", True), patch.dict(os.environ, no_bytecode):
        resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_override() -> Iterator[None]:
    """The permissions of files hold for root too, as they do for other users."""
    libc, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(CAPABILITIES_3, 0)
    before = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: the lower halves, then the upper ones
    assert libc.capget(header, before) == 0
    less = (ctypes.c_uint32 * 6)(before[0] & ~OVERRIDE, *before[1:])
    assert libc.capset(header, less) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


@contextmanager
def full_output() -> Iterator[None]:
    """Standard output goes to a device on which nothing has room."""
    full = Path("/dev/full").open("w")  # noqa: SIM115  to close it is to write to it
    with patch.object(sys, "stdout", full), patch("study.errors.discard_output"):
        yield
    with suppress(OSError):
        full.close()


def forbidden(path: Path) -> None:
    path.chmod(0)


def read_only(path: Path) -> None:
    path.chmod(0o555)


FULL: Mapping[str, str] = {
    ANALYSIS: "{dir}/artifacts/report/",
    "analysis results --artifacts {dir}/artifacts --output {dir}/results.md": "{dir}/results/",
    "analysis portability --artifacts {dir}/artifacts": "{dir}/artifacts/report/portability",
    f"bench convert {BENCH} --to bencher -o {{dir}}/out.json": "{dir}/out.json",
    "bench history {dir}/new.json --output {dir}/history": "{dir}/history/",
    "analysis sparsity {dir}/artifacts/models/baseline/seed0/model.onnx --pictures {dir}/pictures": "{dir}/pictures/",
}
"""What cannot be written, named."""
PRINTED = (
    "train --list",
    f"bench compare {BENCH} {BENCH}",
    f"bench convert {BENCH} --to bencher",
    "bench history {dir}/new.json --output {dir}/history",
    "analysis sparsity {dir}/artifacts/models/baseline/seed0/model.onnx",
    "analysis zeros plain --artifacts {dir}/artifacts",
    "export check {dir}/relu.onnx",
)
FORBIDDEN: Mapping[str, tuple[str, str]] = {
    f"{RUN}/run.json": (ANALYSIS, "run.json"),
    f"{RUN}/history.csv": (ANALYSIS, "history.csv"),
    f"{RUN}/model.onnx": (ANALYSIS, "model.onnx"),
    RUN: (ANALYSIS, "expected a finished run of "),
    "artifacts/bench.json": (f"bench compare {BENCH} {{dir}}/new.json", "bench.json"),
    "artifacts/portability.json": ("analysis portability --artifacts {dir}/artifacts", "portability.json"),
    "relu.onnx": ("pytest bench --onnx {dir}/relu.onnx", "relu.onnx"),
    "relu.onnx ": ("analysis sparsity {dir}/relu.onnx", "relu.onnx"),
    "relu.onnx  ": ("export check {dir}/relu.onnx", "relu.onnx"),
}
WRITTEN = (
    ("analysis portability --artifacts {dir}/artifacts", "artifacts/report"),
    (f"bench convert {BENCH} --to bencher -o {{dir}}/made/out.json", "made"),
    ("bench history {dir}/new.json --output {dir}/made/history", "made"),
)
"""Commands, and a folder that they may not write to."""
ODD = ("$x^{", "a\nb", "\x1b[31mred", "\u202eltr", "a\u0000b", "<b>", "`x`", "=1+1", "\udcff", "x" * 300)
NAMED = (
    "train {}",
    "export {}",
    "bench compare {} b",
    "analysis zeros {}",
    "analysis --study {}",
    "pytest bench --onnx {}",
    "export check {}.onnx",
)


def rows() -> Iterator[Row]:
    for line, answer in FULL.items():
        yield Row(f"a full disk: {line}", line, answer, within=full_disk)
    for line in PRINTED:
        yield Row(f"a full output: {line}", line, "No space left on device", within=full_output)
    for name, (line, answer) in FORBIDDEN.items():
        yield Row(f"no permission: {name} {line}", line, answer, at(name.strip(), forbidden), no_override)
    for line, name in WRITTEN:
        yield Row(f"read only: {line}", line, "Permission denied", at(name, made_read_only), no_override)
    for n, name in enumerate(ODD):
        for line in NAMED:
            if "\0" not in name:  # which no command line can have
                yield Row(f"name {n}: {line}", line.format(shlex.quote(name)), "")


def made_read_only(path: Path) -> None:
    path.mkdir(exist_ok=True)
    read_only(path)
