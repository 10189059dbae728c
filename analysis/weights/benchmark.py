"""Peak memory and time of reading large weights, beside numpy reading and adding up the same bytes.

    python -m analysis.weights.benchmark --turns 9      576 MiB inside the model, 576 MiB beside it, 3 GiB inside it

Each file is a chain of 4096 x 4096 matrices of normal float32 numbers in a temporary folder (3 GiB). The sparsity
command and numpy's `fromfile(...).sum()` run in turns, each in a fresh process and there twice, from the page cache:
only the first run imports and is given memory. A ratio is the median of the turns' ratios, with their range.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from study.command_line import Parser
from study.environment import describe, environment
from study.errors import StudyError, exit_with

WIDTH = 4096
FILES = {"inside the model": 9, "beside the model": 9, "inside a larger model": 48}
"""Where the weights are, and how many matrices of 64 MiB."""
NUMPY = "import numpy, sys; numpy.fromfile(sys.argv[1], numpy.float32, offset=int(sys.argv[2])).sum()"
OURS = "from analysis import sparsity; import sys; sparsity.main([sys.argv[1], '--format', 'csv'])"
TIMED = """
import time
for _ in range(2):
    started = time.perf_counter()
    {}
    print("#", time.perf_counter() - started, file=sys.stderr)
print("#", int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024, file=sys.stderr)
"""
"""Prints the seconds of the first and the second run, and the peak memory of both in MiB."""


def main(words: Sequence[str] | None = None) -> int:
    """Write the files, measure, and print a table."""
    parser = Parser(prog="python -m analysis.weights.benchmark", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", metavar="N", type=int, default=5, help="runs of each command (5)")
    turns = parser.parse_args(words).turns
    if turns < 1:
        raise StudyError(f"--turns: expected 1 or more, found {turns}")
    described = describe(environment())
    print(f"{described.machine}; {described.versions}; n = {turns}")
    print(f"{'weights':<23}{'MiB':>6}{'peak MiB':>10}{'run':>8}{'seconds':>9}{'numpy':>7}{'ratio':>7}  range")
    with tempfile.TemporaryDirectory() as folder:
        for place, matrices in FILES.items():
            path, data = write(Path(folder), matrices, beside=place.startswith("beside"))
            size = matrices * WIDTH * WIDTH * 4
            runs = [(run(OURS, path), run(NUMPY, data, data.stat().st_size - size)) for _ in range(turns)]
            for number, name in enumerate(("first", "second")):
                ours, numpy = ([each[number] for each in column] for column in zip(*runs, strict=True))
                ratios = sorted(a / b for a, b in zip(ours, numpy, strict=True))
                peak = max(each[2] for each, _ in runs)
                row = f"{place:<23}{size // 2**20:>6}{peak:>10.0f}{name:>8}{median(ours):>9.2f}{median(numpy):>7.2f}"
                print(f"{row}{median(ratios):>7.2f}  {ratios[0]:.2f} to {ratios[-1]:.2f}")
            data.unlink()
    return 0


def write(folder: Path, matrices: int, beside: bool) -> tuple[Path, Path]:
    """A model of so many matrices, its weights in it or in a file beside it; its path and that of the weights.

    It is written field by field, for onnx itself writes no model that is larger than 2 GiB.
    """
    import numpy as np
    from onnx import GraphProto, TensorProto, helper

    from analysis.weights.protobuf import field_header

    size, dims = WIDTH * WIDTH * 4, [WIDTH, WIDTH]
    names = [f"fc{number}.weight" for number in range(matrices)]
    nodes = [helper.make_node("Gemm", [f"x{i}", name], [f"x{i + 1}"], transB=1) for i, name in enumerate(names)]
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["n", WIDTH]) for i in (0, matrices)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    path, data = folder / "model.onnx", folder / ("model.data" if beside else "model.onnx")
    heads = []
    for number, name in enumerate(names):
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=int(beside))  # type: ignore[arg-type]  # DEFAULT is 0 and EXTERNAL 1
        for key, value in {"location": data.name, "offset": number * size, "length": size}.items() if beside else ():
            tensor.external_data.add(key=key, value=str(value))
        head = tensor.SerializeToString() + (b"" if beside else field_header(9, size))  # raw_data
        heads.append(field_header(5, len(head) + (0 if beside else size)) + head)  # initializer
    rest = graph.SerializeToString()
    model = helper.make_model(GraphProto(), opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model.ClearField("graph")
    length = len(rest) + sum(map(len, heads)) + (0 if beside else matrices * size)
    random = np.random.default_rng(0)
    data.unlink(missing_ok=True)
    path.write_bytes(model.SerializeToString() + field_header(7, length) + rest)  # graph
    with path.open("ab", buffering=0) as file, data.open("ab", buffering=0) as weights:
        for head in heads:
            file.write(head)
            weights.write(random.standard_normal(size // 4, dtype=np.float32).tobytes())
    return path, data


def run(script: str, *words: object) -> list[float]:
    """Run one of the lines above in a fresh process: seconds of the first and the second run, and the peak in MiB."""
    command = [sys.executable, "-c", TIMED.format(script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(line[2:]) for line in done.stderr.splitlines() if line.startswith("# ")]


if __name__ == "__main__":
    exit_with(main)
