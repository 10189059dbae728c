"""Read the models of onnx's own backend tests with `analysis sparsity --verify`, and their inputs as the bench does.

    python -m tests.foreign.backend                  those of the installed onnx: recent wheels have few
    python -m tests.foreign.backend --fetch          those of onnx 1.19.1, the last wheel with all of them
    python -m tests.foreign.backend FOLDER           all *.onnx files in a folder and below

--fetch runs `pip download --no-deps onnx==1.19.1` and unpacks the models alone. Each file is read in a process of its
own. The exit code is 1 if one of them ends in a traceback, takes longer than a minute, prints anything but its report,
or has a layer that ONNX Runtime refutes.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.confined import confined

WHEEL = "onnx==1.19.1"
SECONDS = 60.0
"""For one file."""
SHOWN = 12
"""Reasons of each kind that are printed, the most frequent ones."""


def fetch(folder: Path) -> None:
    """Unpack the models of onnx's wheel into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("onnx-*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder, [each for each in content.namelist() if each.endswith(".onnx")])


def examine(path: Path) -> dict[str, Any]:
    """Run both; what is printed to the descriptors themselves, as libraries in C do, is captured too."""
    from analysis import sparsity
    from bench.models import from_file
    from study.errors import StudyError
    from study.onnx_given import Given

    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        os.dup2(output.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        code = sparsity.main([str(path), "--verify", "--format", "json"])
        sys.stdout.flush()
        sys.stderr.flush()
        for file in (output, errors):
            file.seek(0)
        report = json.loads(output.read())["files"]
        printed = "".join(line for line in errors if f"{path.name}: reading " not in line)  # progress
    notes = [f"analysis: {'read' if report else printed}"]
    if (len(printed.splitlines()), bool(report)) not in ((0, True), (1, False)):
        notes.append(f"fault: printed {printed!r}")
    for file in report:
        notes += [f"skipped: {each['operator']}: {each['reason']}" for each in file["skipped"]]
        for layer in file["layers"]:
            proof = layer["verified"]
            notes.append(f"layer: {layer['operator']}, verified {proof['verified']}: {proof['reason']}")
    if code == 1:
        notes.append("fault: a layer is refuted")
    try:
        model = from_file(path, Given())
        for batch in model.batch_sizes([1])[:1]:
            model.pool(batch)
        notes.append("bench: inputs are drawn")
    except StudyError as error:
        notes.append(f"bench: {error}")
    return {"kind": "read", "message": "\n".join(note.replace(str(path), "FILE") for note in notes)}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.foreign.backend", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", help="of ONNX files (the installed onnx's)")
    parser.add_argument("--fetch", action="store_true", help=f"fetch {WHEEL} from PyPI and read its models instead")
    options = parser.parse_args()

    import onnx.reference  # here, so that no fork imports it again
    import onnxruntime  # noqa: F401

    from analysis import sparsity  # noqa: F401
    from analysis.inputs import onnx_file  # noqa: F401
    from bench import models, onnx_files  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        root = options.folder or Path(onnx.__file__).parent / "backend" / "test" / "data"
        if options.fetch:
            fetch(root := Path(folder))
        paths = sorted(path for path in root.rglob("*.onnx") if path.is_file())
        return report(root, paths)


def report(root: Path, paths: list[Path]) -> int:
    """Print a summary of what becomes of the files; whether one of them is at fault."""
    counts: dict[str, Counter[str]] = {}
    faults = 0
    slowest = 0.0
    for path in paths:
        outcome = confined(examine, path, SECONDS)
        slowest = max(slowest, outcome.seconds)
        notes = outcome.message.split("\n") if outcome.kind == "read" else [f"fault: {outcome.fault}"]
        for note in notes:
            kind, _, what = note.partition(": ")
            counts.setdefault(kind, Counter())[re.sub(r"'[^']*'|\d[\d,]*", "*", what)] += 1
            if kind == "fault":
                faults += 1
                print(f"{path.relative_to(root)}: {what}")
    for kind, found in counts.items():
        print(f"\n{kind}: {found.total():,}")
        for what, count in found.most_common(SHOWN):
            print(f"{count:8,}  {what}")
    print(f"\n{len(paths):,} files, at most {slowest:.1f} s each; {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
