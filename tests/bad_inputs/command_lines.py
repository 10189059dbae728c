"""Rows with wrong words: of every command an option, a value, and a name that means nothing."""

from collections.abc import Iterator, Mapping

from tests.bad_inputs import damage
from tests.bad_inputs.damage import Damage
from tests.bad_inputs.files import at
from tests.bad_inputs.rows import Row

UNKNOWN = "unrecognized arguments: --nonsense"
COMMANDS = {
    "train": "",
    "train search gap --trials 1": "train search",
    "export": "",
    "export check a.onnx": "export check",
    "export conformance": "",
    "export compact a.onnx": "export compact",
    "export pack": "export pack",
    "export verify a": "export verify",
    "analysis": "",
    "analysis sparsity a.onnx": "analysis sparsity",
    "analysis zeros gap": "analysis zeros",
    "analysis results": "",
    "analysis portability": "",
    "bench ab a b": "bench",
    "bench ci": "bench",
    "bench compare a b": "bench",
    "bench convert a --to bencher": "bench",
    "bench doctor": "bench",
    "bench history a": "bench",
    "bench zeros gap": "bench",
    "bench.experiments gate": "bench.experiments",
}
"""A command line that lacks nothing, and the command whose help its mistake points to, where that is another text."""

MODEL = "{dir}/relu.onnx"
"""A sound file."""
WORDS: Mapping[str, str] = {
    # Training.
    "train nosuch": "no model is called 'nosuch'",
    "train ''": "no model is called ''",
    "train --study nosuch": "no study is called 'nosuch'",
    "train --dataset mnist": "mnist",
    "train --seeds -1": "expected numbers from 0",
    "train --seeds 4294967296": "expected numbers from 0",
    "train --seeds 1,,2": "expected numbers from 0",
    "train --seeds ²": "expected numbers from 0",
    "train --epochs 0": "expected a number from 1",
    "train --epochs 1e3": "expected a number from 1",
    "train --epochs": "expected one argument",
    "train --workers ''": "expected a number from 1",
    "train --engine cluster": "invalid choice: 'cluster'",
    "train --list --evaluate": "not allowed with",
    "train --catalogue {dir}/none.py": "found no such file",
    "train --catalogue {dir}": "expected a Python file",
    "train --evaluate --artifacts {dir}/none": "no finished run",
    "train search": "the following arguments are required: MODEL, --trials",
    "train search nosuch --trials 1": "no model is called 'nosuch'",
    "train search gap --trials 0": "expected a number from 1",
    # Export.
    "export nosuch": "no model is called 'nosuch'",
    "export --opset 13": "opset",
    "export --opset x": "opset",
    "export --int8 int4": "invalid choice",
    "export --module nosuch --input x=float32[batch,4]": "found 'nosuch'",
    "export --module nosuch.module:f --input x=float32[batch,4]": "nosuch",
    "export --module {dir}:f --input x=float32[batch,4]": "--module",
    "export --module json:loads --input x=float32[batch,4] --module-args [": "expected a list or an object in JSON",
    "export --module json:loads --input x=float32[batch,4] --tolerance 2": "--tolerance",
    "export baseline --artifacts {dir}/none": "run `python -m train baseline --artifacts {dir}/none`",
    "export check {dir}/none.onnx": "none.onnx",
    "export check nosuch": "no exported model is called so",
    "export check {dir}": "a folder",
    "export check": "the following arguments are required",
    f"export check {MODEL} --opset 1000": "opset",
    f"export check {MODEL} --runtimes abacus": "abacus",
    "export conformance --onnx {dir}/none.onnx": "none.onnx",
    "export conformance --runtimes abacus": "abacus",
    "export conformance --images 0": "--images",
    f"export conformance --onnx {MODEL} --batches 0": "--batches",
    "export compact {dir}/none.onnx": "none.onnx",
    f"export compact {MODEL} -o {{dir}}/small.txt": "expected a name that ends in .onnx",
    f"export compact {MODEL} -o {{dir}}/artifacts": "expected a name that ends in .onnx",
    f"export compact {MODEL} -o {MODEL}": "expected another file",
    "export pack nosuch": "no model is called 'nosuch'",
    "export pack --artifacts {dir}/none": "expected a finished run of baseline, ",
    "export verify": "the following arguments are required: PACK",
    "export verify {dir}/none": "found nothing there",
    f"export verify {MODEL}": "found another thing",
    "export verify {dir}/artifacts/ab": "expected a folder for each model",
    # Analysis.
    "analysis --models nosuch --artifacts {dir}/artifacts": "nosuch",
    "analysis --study nosuch": "no study is called 'nosuch'",
    "analysis --artifacts {dir}/none": "expected a finished run of baseline, ",
    "analysis --measure nosuch": "nosuch",
    "analysis --measure 'pq-mean(p=0)'": "pq-mean",
    "analysis --bench {dir}/none.json --artifacts {dir}/artifacts": "none.json is missing",
    "analysis --publish --study cnn5": "--publish",
    "analysis sparsity {dir}/none.onnx": "none.onnx",
    f"analysis sparsity {MODEL} --shape image": "--shape",
    f"analysis sparsity {MODEL} --feed {{dir}}/none.npz": "none.npz",
    f"analysis sparsity {MODEL} --format xml": "invalid choice: 'xml'",
    "analysis zeros nosuch --artifacts {dir}/artifacts": "nosuch",
    "analysis results --artifacts {dir}/none": "no finished run",
    "analysis results --output results.txt": "expected a name that ends in .md",
    "analysis portability --artifacts {dir}/none": "portability.json is missing",
    # The bench.
    "bench": "the following arguments are required: COMMAND",
    "bench nosuch": "invalid choice: 'nosuch'",
    "bench compare {dir}/none.json {dir}/new.json": "none.json is missing",
    "bench compare {dir}/new.json {dir}/new.json --fail-above=-3%": "expected a share",
    "bench compare {dir}/new.json {dir}/new.json --metrics mode": "expected some of",
    "bench compare {dir}/artifacts/ab/a.json {dir}/new.json": "expected",
    "bench convert {dir}/new.json": "the following arguments are required: --to",
    "bench convert {dir}/none.json --to bencher": "none.json is missing",
    "bench doctor --cpus 4096": "--cpus",
    "bench doctor --cpus a-b": "--cpus",
    "bench history {dir}/none": "expected a file, a folder or a pattern",
    "bench history {dir}/new.json --false-alarms 2": "expected a probability",
    "bench ci": "",
    "bench zeros nosuch --artifacts {dir}/artifacts": "nosuch",
    "bench ab nosuch nosuch --artifacts {dir}/artifacts": "nosuch",
    f"bench ab {MODEL} {MODEL},runtime=abacus": "abacus",
    f"bench ab {MODEL} {MODEL},colour=red": "colour",
    f"bench ab {MODEL} {MODEL} --seconds -1": "--seconds",
    "pytest bench --models nosuch": "no model is called 'nosuch'",
    f"pytest bench --onnx {MODEL} --runtimes abacus": "no runtime is called 'abacus'",
    f"pytest bench --onnx {MODEL} --batches 0": "--batches",
    "pytest bench --threads x": "--threads",
    "pytest bench --seconds inf": "--seconds",
    "pytest bench --processes 1": "--processes: expected at least 5",
    "pytest bench --onnx {dir}/none.onnx": "found nothing there",
    "pytest bench --onnx {dir}": "found a folder",
    "pytest bench --onnx /dev/zero": "found no plain file",
    "bench.experiments nosuch": "invalid choice: 'nosuch'",
}
GIVEN: Mapping[str, tuple[str, Damage, str]] = {
    "export check {dir}/x.onnx": ("x.onnx", damage.empty, "x.onnx"),
    "export compact {dir}/x.onnx": ("x.onnx", damage.pipe, "no plain file"),
    "export conformance --onnx {dir}/x.onnx": ("x.onnx", damage.device, "x.onnx"),
    "analysis sparsity {dir}/x.onnx": ("x.onnx", damage.device, "x.onnx"),
    "analysis zeros {dir}/x.onnx": ("x.onnx", damage.binary, "x.onnx"),
    "bench zeros {dir}/x.onnx": ("x.onnx", damage.pipe, "x.onnx"),
    "pytest bench --onnx {dir}/x.onnx": ("x.onnx", damage.binary, "found other bytes or a part of one"),
    f"pytest bench --onnx {MODEL} --feed {{dir}}/x.npz": ("x.npz", damage.pipe, "x.npz"),
    f"bench ab {MODEL} {MODEL} --feed {{dir}}/x.npz": ("x.npz", damage.binary, "x.npz"),
    "train --catalogue {dir}/x.py": ("x.py", damage.binary, "cannot be imported"),
    "train --catalogue {dir}/y.py": ("y.py", damage.pipe, "y.py"),
    "export --module {dir}/x.py:f --input x=float32[batch,4]": ("x.py", damage.device, "x.py"),
    "bench history {dir}/x.json": ("x.json", damage.pipe, "x.json"),
    "bench convert {dir}/x.json --to bencher": ("x.json", damage.device, "a device"),
}
"""A file that the user names, and what it is instead."""


def rows() -> Iterator[Row]:
    for line, command in COMMANDS.items():
        yield Row(f"{line} --nonsense", f"{line} --nonsense", f"{UNKNOWN}; see `python -m {command or line} --help`")
    for line, answer in WORDS.items():
        yield Row(line, line, answer)
    for line, (name, change, answer) in GIVEN.items():
        yield Row(f"{line}: {change.__name__}", line, answer, at(name, change))
