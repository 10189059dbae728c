"""What it takes to read large weights: peak memory, and time beside reading and adding up the same bytes in numpy.

    python -m analysis.weights.benchmark            576 MiB inside the model, 576 MiB beside it, 3 GiB inside it
    python -m analysis.weights.benchmark --turns 9

Each is a chain of 4096 x 4096 matrices of normal float32 numbers, written into a temporary folder (3 GiB). The sparsity
command and numpy's `fromfile(...).sum()` are run in turns, each in a fresh process, the file being in the page cache,
and there twice: what a process does once, importing and being given memory, is in the first time alone. A ratio is the
median of the turns' ratios, with their range.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from study.errors import StudyError, exit_with

WIDTH = 4096
FILES = {"inside the model": 9, "beside the model": 9, "inside a larger model": 48}
"""Where the weights are, and how many matrices of 64 MiB."""

PLAIN = "import numpy, sys; numpy.fromfile(sys.argv[1], numpy.float32, offset=int(sys.argv[2])).sum()"
OURS = "from analysis import sparsity; import sys; sparsity.main([sys.argv[1], '--format', 'csv'])"
TIMED = """
import time
for _ in range(2):
    started = time.perf_counter()
    {}
    print("#", time.perf_counter() - started, file=sys.stderr)
print("#", open("/proc/self/status").read().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""
"""Runs a command's line twice: the first time with what a process has to do at its beginning, the second without."""


def main(words: Sequence[str] | None = None) -> int:
    """Write the files, measure, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.weights.benchmark", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--turns", metavar="N", type=int, default=5, help="of each command (5)")
    options = parser.parse_args(words)
    if options.turns < 1:
        raise StudyError(f"--turns: expected 1 or more, found {options.turns}")

    from study.environment import environment

    made = environment()
    versions = ", ".join(f"{name} {made.packages[name]}" for name in ("numpy", "onnx"))
    print(f"{made.cpu}, {made.cores} cores; Python {made.python}, {versions}; n = {options.turns}")
    print(f"{'weights':<23}{'MiB':>6}{'peak MiB':>10}{'run':>8}{'seconds':>9}{'numpy':>7}{'ratio':>7}  range")
    with tempfile.TemporaryDirectory() as folder:
        for place, matrices in FILES.items():
            path, data = write(Path(folder), matrices, beside=place.startswith("beside"))
            size = matrices * WIDTH * WIDTH * 4
            offset = str(data.stat().st_size - size)
            turns = [(run(OURS, str(path)), run(PLAIN, str(data), offset)) for _ in range(options.turns)]
            peak = max(ours.peak for ours, _ in turns)
            for number, name in enumerate(("first", "second")):
                ours, plain = ([run.seconds[number] for run in runs] for runs in zip(*turns, strict=True))
                ratios = sorted(a / b for a, b in zip(ours, plain, strict=True))
                row = f"{place:<23}{size // 2**20:>6}{peak:>10.0f}{name:>8}{median(ours):>9.2f}{median(plain):>7.2f}"
                print(f"{row}{median(ratios):>7.2f}  {ratios[0]:.2f} to {ratios[-1]:.2f}")
            data.unlink()
    return 0


def write(folder: Path, matrices: int, beside: bool) -> tuple[Path, Path]:
    """A model of so many matrices, its weights in it or in a file beside it; its path and that of the weights.

    The model is written field by field, for onnx itself makes none that is larger than 2 GiB.
    """
    import numpy as np
    import onnx
    from onnx import helper

    nodes = [helper.make_node("Gemm", [f"x{i}", f"fc{i}.weight"], [f"x{i + 1}"], transB=1) for i in range(matrices)]
    ends = [helper.make_tensor_value_info(f"x{i}", onnx.TensorProto.FLOAT, ["n", WIDTH]) for i in (0, matrices)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    size = WIDTH * WIDTH * 4
    heads = []
    for i in range(matrices):
        tensor = onnx.TensorProto(name=f"fc{i}.weight", data_type=onnx.TensorProto.FLOAT, dims=[WIDTH, WIDTH])
        if beside:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", "model.data"), ("offset", i * size), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
        head = tensor.SerializeToString() + (b"" if beside else b"\x4a" + _varint(size))  # field 9: raw_data
        heads.append(b"\x2a" + _varint(len(head) + (0 if beside else size)) + head)  # field 5 of a graph: initializer
    rest = graph.SerializeToString()
    length = len(rest) + sum(map(len, heads)) + (0 if beside else matrices * size)
    model = helper.make_model(onnx.GraphProto(), opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model.ClearField("graph")
    path = folder / "model.onnx"
    data = folder / "model.data" if beside else path
    random = np.random.default_rng(0)
    with path.open("wb") as file, data.open("wb") if beside else Path(os.devnull).open("wb") as other:
        file.write(model.SerializeToString() + b"\x3a" + _varint(length) + rest)  # field 7 of a model: graph
        for head in heads:
            file.write(head)
            (other if beside else file).write(random.standard_normal(size // 4, dtype=np.float32).tobytes())
    return path, data


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


@dataclass(frozen=True)
class Run:
    """Seconds of the first and the second run in one process, and the peak memory of both in MiB."""

    seconds: tuple[float, float]
    peak: float


def run(script: str, *words: str) -> Run:
    """Run one of the lines above, with these words of a command line, twice in a fresh process."""
    command = [sys.executable, "-c", TIMED.format(script), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [line for line in done.stderr.splitlines() if line.startswith("# ")]
    first, second, kibibytes = (float(line[2:]) for line in told)
    return Run((first, second), kibibytes / 1024)


if __name__ == "__main__":
    exit_with(main)
