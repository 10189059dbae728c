"""Take the modules of tests/modules/listed.py all the way, each by the commands that a user gives.

    python -m tests.modules                     all of them, minutes
    python -m tests.modules resnet18 tagger     some

`pytest bench --module` exports, proves and measures in torch, ONNX Runtime and OpenVINO (with --quick: no latency is
claimed); then `analysis sparsity --verify`, `export check`, and one report on all. The exit code is 1 if one fails.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.artifacts import Artifacts
from study.bench_file import read_bench
from study.entry import Entry
from study.errors import StudyError, exit_with
from study.modules.files import current_module, module_files
from study.modules.options import words_of
from tests.modules.listed import ENTRIES

MOST_SECONDS = 3600
"""Time limit of one command."""
ENGINES = "torch,onnxruntime,openvino"
RUNTIMES = "onnxruntime,openvino"
"""Those that must load each file."""


class FailedError(Exception):
    """A command failed; the message is its error, or the last line that it printed."""


@dataclass(frozen=True)
class Outcome:
    """What became of a module, in words for each column of the table."""

    name: str
    parity: str = ""
    pairs: str = ""
    layers: str = ""
    check: str = ""
    seconds: float = 0.0
    error: str = ""


def command(artifacts: Path, *words: str, codes: Sequence[int] = (0,)) -> str:
    """The standard output of `python -m WORDS`.

    Raises:
        FailedError: it ended with another exit code, in a traceback or too late.
    """
    line = [sys.executable, "-m", *words, "--artifacts", str(artifacts)]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        raise FailedError(f"{words[0]}: no end after {MOST_SECONDS} s") from None
    output = done.stdout + done.stderr
    if done.returncode in codes and not re.search("Traceback|INTERNALERROR", output):
        return done.stdout
    lines = [text.strip() for text in output.splitlines() if text.strip()] or [f"exit code {done.returncode}"]
    errors = [text for text in lines if "error: " in text.lower()]
    raise FailedError(f"{' '.join(words[:3])}: {(errors or lines)[-1]}")


def taken_through(entry: Entry, artifacts: Path) -> Outcome:
    """The outcome of one module."""
    started = time.perf_counter()
    words = ("--quick", "--seconds", "20", "--batches", "1", "--cold-starts", "0", "--runtimes", ENGINES)
    bench = bench_file(artifacts, entry.name)
    found: dict[str, str] = {}
    try:
        command(artifacts, "pytest", "bench", "-q", *words_of(entry), *words, f"--benchmark-json={bench}")
        record = current_module(module_files(Artifacts(artifacts), entry.name))
        largest = max(output.max_rel_difference for output in record.parity)
        found["parity"] = f"{len(record.parity)} outputs, {largest:.0e}"
        pairs = {f"{pair.reference} {pair.key.runtime}": pair.ratio.value for pair in read_bench(bench, "").comparisons}
        if not {"torch onnxruntime", "torch openvino"} <= pairs.keys():
            raise FailedError(f"pytest bench: compared {', '.join(pairs) or 'nothing'}")
        found["pairs"] = f"{pairs['torch onnxruntime']:.2f}, {pairs['torch openvino']:.2f}"
        text = command(artifacts, "analysis", "sparsity", entry.name, "--verify", "--format", "json")
        layers = json.loads(text)["files"][0]["layers"]
        verified = [layer["verified"]["verified"] for layer in layers]
        found["layers"] = f"{verified.count(True)} of {len(layers)}"
        command(artifacts, "export", "check", entry.name, "--runtimes", RUNTIMES)
        found["check"] = "loads"
        if not all(verified):
            reasons = dict.fromkeys(str(layer["verified"]["reason"]) for layer in layers)
            raise FailedError(f"analysis sparsity --verify: {'; '.join(reasons)}")
    except (FailedError, StudyError) as error:
        return Outcome(entry.name, **found, seconds=time.perf_counter() - started, error=str(error))
    return Outcome(entry.name, **found, seconds=time.perf_counter() - started)


def bench_file(artifacts: Path, name: str) -> Path:
    return artifacts / f"bench-{name}.json"


def reported(names: Sequence[str], artifacts: Path) -> str:
    """An error of the report on these modules, or nothing."""
    files = ",".join(str(bench_file(artifacts, name)) for name in names)
    try:
        command(artifacts, "analysis", "--models", ",".join(names), "--bench", files, "--fresh")
    except FailedError as error:
        return str(error)
    return ""


def row(*cells: str) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, (20, 18, 26, 16, 6, 5, 0), strict=True)).rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.modules", description=(__doc__ or "").partition("\n\n")[0])
    known = [entry.name for entry in ENTRIES]
    parser.add_argument("names", metavar="NAME", nargs="*", help=", ".join(known))
    parser.add_argument("--folder", type=Path, default=Path("artifacts/listed"), help="of what is made (%(default)s)")
    options = parser.parse_args()
    if wrong := [name for name in options.names if name not in known]:
        raise StudyError(f"expected some of {', '.join(known)}, found {', '.join(wrong)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    print(row("module", "parity", "ORT, OpenVINO / torch", "layers verified", "check", "s", ""), flush=True)
    outcomes = []
    for entry in ENTRIES:
        if not options.names or entry.name in options.names:
            one = taken_through(entry, options.folder)
            outcomes.append(one)
            seconds = f"{one.seconds:.0f}"
            print(row(one.name, one.parity, one.pairs, one.layers, one.check, seconds, one.error), flush=True)
    whole = [one.name for one in outcomes if not one.error]
    failure = reported(whole, options.folder) if whole else "nothing to report"
    print(f"report: {failure or options.folder / 'report-modules' / 'index.html'}")
    failed = sum(bool(one.error) for one in outcomes) + bool(failure)
    print(f"{failed} failed" if failed else "none failed")
    return 1 if failed else 0


if __name__ == "__main__":
    exit_with(main)
