"""The conformance run: its verdicts, programs that misbehave, environments that cannot be made, and interruptions."""

import json
import os
import signal
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.conformance import browser, command, environments
from export.conformance.cells import BATCHES, Subject, cell, judge
from export.conformance.environments import MARK, prepare
from export.conformance.processes import CommandError, meaningful, run
from export.conformance.programs import write_program
from export.conformance.runtimes import NODE, RUNTIMES, Runtime, constraints, select
from export.conformance.subjects import find
from export.exporter import export
from study import catalogue
from study.artifacts import Artifacts, read_json, write_json
from study.data import tensors as images
from study.errors import StudyError
from study.variants import Variant
from tests import conftest
from tests.conftest import ROOT, Trained

IMAGES, CLASSES = 9, 3
BEGIN = """
import os, signal, subprocess, sys, time
import numpy as np
model, images, batch, probabilities = sys.argv[1:]
rows = np.full((9, 3), 0.25, np.float32)
rows[:, 1] = 0.5
"""
RIGHT = "np.save(probabilities, rows)"


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A model that none of the programs here looks at: the second class of three has half of the probability."""
    images = tmp_path / "images.npy"
    np.save(images, np.zeros((IMAGES, 1, 28, 28), np.float32))
    expected = np.tile(np.array([0.25, 0.5, 0.25], np.float32), (IMAGES, 1))
    every = dict.fromkeys(BATCHES, expected)
    return Subject("baseline", 0, tmp_path / "model.onnx", "0" * 64, images, every, 1e-5)


def runtime(program: str, folder: Path, **fields: Any) -> tuple[Runtime, Path]:
    """A runtime of which this is the program, and the document that has it."""
    document = folder / "portability.md"
    document.write_text(
        f"# Programs\n\n```sh\npip install it\n```\n\n## This\n\n```python\n{BEGIN}{program}\n```\n\n## End\n"
    )
    return Runtime("this", "This {version}", "This", **fields), document


def tried(program: str, subject: Subject, folder: Path, seconds: float = 60) -> dict[str, Any]:
    """The cell of a program."""
    this, document = runtime(program, folder)
    (folder / "work").mkdir()
    prepared = prepare(this, folder / "environment", folder / "work", document)
    return cell(this, prepared, subject, 7, seconds)


# ---- programs, right and wrong


def test_a_program_that_computes_the_same_passes(subject: Subject, tmp_path: Path) -> None:
    found = tried(RIGHT, subject, tmp_path)
    assert found.pop("seconds") > 0
    assert found == {
        "runtime": "this",
        "model": "baseline",
        "seed": 0,
        "onnx_sha256": "0" * 64,
        "batch": 7,
        "verdict": "passed",
        "shape": [9, 3],
        "finite": True,
        "row_sum_error": 0.0,
        "max_abs_difference": 0.0,
        "argmax_mismatches": 0,
        "allowed": 1e-5,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('no such operator: Frobnicate')", "exit code 1: ValueError: no such operator: Frobnicate"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("sys.exit(3)", "exit code 3"),
        ("pass", "it left no result (No such file or directory)"),
        ("rows[4, 2] = np.nan\n" + RIGHT, "1 of its numbers are not finite"),
        ("np.save(probabilities, rows[:8])", "its result has shape [8, 3], expected [9, 3]"),
        ("np.save(probabilities, rows.T)", "its result has shape [3, 9], expected [9, 3]"),
        ("rows[2] = 0.5, 0.25, 0.25\n" + RIGHT, "another class for 1 of 9 images"),
        ("rows *= 1.001\n" + RIGHT, "its probabilities sum to 1 with an error of 1.0e-03"),
        ("rows[0] = 0.26, 0.49, 0.25\n" + RIGHT, "differs by 1.0e-02, allowed is 1e-05"),
        ("np.save(probabilities, rows.astype(float))", "its result is float64, expected float32"),
        ("open(probabilities, 'w').write('0.25 0.5')", "its result cannot be read: "),
        ("np.save(probabilities, np.array([{}], dtype=object))", "its result cannot be read: "),
        ("open(probabilities, 'wb').write(b'PK' + bytes([3, 4]))", "its result cannot be read: "),
        ("np.savez(probabilities, rows); os.rename(probabilities + '.npz', probabilities)", "its result is an archive"),
        ("open(probabilities, 'w').truncate(1 << 30)", "its result has more than 67108864 bytes"),
    ],
)
def test_a_program_that_does_not_fails_with_its_reason(
    program: str, reason: str, subject: Subject, tmp_path: Path
) -> None:
    found = tried(program, subject, tmp_path)
    assert found["verdict"] == "failed"
    assert found["reason"].startswith(reason)


def test_a_program_that_hangs_is_ended_with_its_children(subject: Subject, tmp_path: Path) -> None:
    child = "import os, time; open({!r}, 'w').write(str(os.getpid())); time.sleep(60)".format(str(tmp_path / "child"))
    found = tried(f"subprocess.run([sys.executable, '-c', {child!r}])", subject, tmp_path, seconds=3)
    assert (found["verdict"], found["reason"]) == ("failed", "no end after 3 s")
    pid = int((tmp_path / "child").read_text())
    for _ in range(100):  # until the system has taken it away
        if not Path(f"/proc/{pid}").exists() or "(zombie)" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the program's child still runs")


def test_a_quantised_file_may_differ_in_a_class_and_a_float_one_may_not() -> None:
    expected = np.tile(np.array([0.4, 0.6], np.float32), (200, 1))
    for wrong, verdict in ((2, "passed"), (3, "failed")):
        found = expected.copy()
        found[:wrong] = 0.51, 0.49
        assert judge(expected, found, 0.2, mismatches=0.01)["verdict"] == verdict
        assert judge(expected, found, 0.2)["reason"] == f"another class for {wrong} of 200 images"


def test_a_program_sees_a_home_of_its_own(subject: Subject, tmp_path: Path) -> None:
    program = "from pathlib import Path\nassert Path.home() == Path(probabilities).parent, Path.home()\n" + RIGHT
    assert tried(program, subject, tmp_path)["verdict"] == "passed"


def test_what_an_entry_allows_is_allowed_in_every_runtime(subject: Subject) -> None:
    expected = subject.expected[1]
    near = expected + np.array([1e-4, -1e-4, 0], np.float32)
    assert judge(expected, near, 1e-3)["verdict"] == "passed"
    assert judge(expected, near, 1e-5)["reason"] == "differs by 1.0e-04, allowed is 1e-05"
    this = Runtime("this", "This", "This")
    absent = environments.Prepared(reason="not here")
    assert cell(this, absent, replace(subject, largest_difference=1e-3), 1)["allowed"] == 1e-3
    assert cell(replace(this, largest_difference=1e-2), absent, subject, 1)["allowed"] == 1e-2


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("", ""),
        ("loading\nTraceback (most recent call last):\n  File ...\nKeyError: 'image'\n", "KeyError: 'image'"),
        (
            "Looking in links\nERROR: Could not find a version\nERROR: No matching distribution found for a==1\n\n"
            "[notice] A new release of pip is available",
            "ERROR: No matching distribution found for a==1",
        ),
        (
            "npm error code E404\nnpm error 404 Not Found\nnpm error A complete log of this run can be found in: /x",
            "npm error 404 Not Found",
        ),
        ("npm error request to https://me:key@mirror/a failed", "npm error request to (an address) failed"),
        ("a.mjs:3\n  throw\n  ^\n\nError: no model\n    at main (a.mjs:3)\n\nNode.js v20.1.0\n", "Error: no model"),
        ("terminate called after throwing\n  what():  no such file", "what():  no such file"),
    ],
)
def test_the_reason_is_the_line_that_matters(printed: str, told: str) -> None:
    assert meaningful(printed) == told


def test_a_command_that_is_not_there_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no-such-command: No such file or directory"):
        run(["no-such-command"], tmp_path, 5)


# ---- environments


def make_wheel(folder: Path, version: str) -> None:
    """A package `answer` that pip can install without any index."""
    info = f"answer-{version}.dist-info"
    files = {
        "answer.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: answer\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"answer-{version}-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip may look."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_an_environment_is_made_once_and_anew_when_its_versions_change_or_it_was_killed(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraint = tmp_path / "constraints.txt"  # as tox sets it: another version, which is not to be heeded
    constraint.write_text("answer==2.0\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(constraint))
    make_wheel(wheels, "1.0")
    make_wheel(wheels, "1.1")
    folder, work = tmp_path / "environment", tmp_path

    def version(pin: str) -> str:
        this, document = runtime("", tmp_path, requirements=(pin,))
        prepared = prepare(this, folder, work, document)
        assert prepared.reason is None
        return run([prepared.command[0], "-I", "-c", "import answer; print(answer.VERSION)"], tmp_path, 60).strip()

    assert version("answer==1.0") == "1.0"
    (folder / "mine").touch()
    assert version("answer==1.0") == "1.0"
    assert (folder / "mine").exists()

    assert version("answer==1.1") == "1.1"
    assert not (folder / "mine").exists()

    (folder / MARK).unlink()  # as a kill in the middle leaves it
    (folder / "mine").touch()
    assert version("answer==1.1") == "1.1"
    assert not (folder / "mine").exists()


def test_what_cannot_be_installed_is_not_run_and_told(wheels: Path, tmp_path: Path, subject: Subject) -> None:
    this, document = runtime(RIGHT, tmp_path, requirements=("answer==9.9",))
    artifacts = Artifacts(tmp_path / "artifacts")
    work = tmp_path / "work"
    work.mkdir()
    record = command.measure([this], [subject], artifacts, work, IMAGES, document)
    reason = "exit code 1: ERROR: No matching distribution found for answer==9.9"
    assert record["runtimes"] == [
        {
            "name": "this",
            "title": "This 9.9",
            "version": "9.9",
            "largest_difference": 1e-5,
            "because": None,
            "reason": reason,
        }
    ]
    assert [(c["batch"], c["verdict"], c["reason"]) for c in record["cells"]] == [
        (batch, "not run", reason) for batch in (1, 7, 64)
    ]
    write_json(artifacts.portability, record)
    assert not (artifacts.environments / "this" / MARK).exists()
    assert list(command.summary(record)) == [
        f"This 9.9: 3 not run ({reason})",
        "0 passed, 0 failed, 3 not run, 9 images each",
    ]


def test_what_is_installed_here_in_that_version_needs_no_environment(tmp_path: Path) -> None:
    this, document = runtime("", tmp_path, requirements=(f"numpy=={np.__version__}",))
    assert prepare(this, tmp_path / "environment", tmp_path, document).command[0] == Path(sys.executable)
    assert not (tmp_path / "environment").exists()


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("node", "no `node` and `npm` on PATH"),
        ("web-chromium", "no Chromium on PATH, and the variable CHROME names none"),
        ("openvino-c++", "no `g++` or `clang++` on PATH, and the variable CXX names none"),
    ],
)
def test_a_command_that_is_needed_and_missing_is_named(
    name: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for named in ("", str(tmp_path / "nowhere")):
        for variable in ("CHROME", "CXX"):
            monkeypatch.setenv(variable, named)
        prepared = prepare(select(name)[0], tmp_path / "environment", tmp_path)
        assert (prepared.reason, prepared.broken) == (missing, False)


def test_a_program_that_does_not_compile_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text("echo \"$PWD/classify.cpp:3:1: error: no such type\"; echo '  3 | x'; exit 1\n")
    monkeypatch.setenv("CXX", f"sh {compiler}")  # it may be two words
    prepared = prepare(select("openvino-c++")[0], tmp_path / "environment", tmp_path)
    assert prepared.broken
    assert prepared.reason == "exit code 1: classify.cpp:3:1: error: no such type 3 | x"


# ---- the browser's driver, with a browser of our own

BROWSER = """#!{python}
import sys, urllib.request as web
address = sys.argv[-1]
assert "--headless" in sys.argv and address.endswith("?batch=7")
page = web.urlopen(address).read().decode()
assert page.startswith("<p>the page</p>") and "window.classified" in page
base = address.partition("?")[0]
assert web.urlopen(base + "model.onnx").read() == b"the model"
assert web.urlopen(base + "ort.mjs").read() == b"the library"
{end}
"""


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("web.urlopen(web.Request(base + 'probabilities', data=bytes(4 * 27)))", None),
        ("web.urlopen(web.Request(base + 'error', data=b'TypeError: no'))", "exit code 1: Error: TypeError: no"),
        ("web.urlopen(web.Request(base + 'probabilities', data=bytes(100)))", "exit code 1: ValueError: "),
        ("sys.exit('no display')", "exit code 1: Error: the browser ended with 1: no display"),
    ],
)
def test_the_browser_is_given_the_page_and_its_result_is_taken(
    end: str, reason: str | None, subject: Subject, tmp_path: Path
) -> None:
    fake = tmp_path / "chromium"
    fake.write_text(BROWSER.format(python=sys.executable, end=end + "\nimport time; time.sleep(30)" * (reason is None)))
    fake.chmod(0o755)
    for name, content in (("page.html", "<p>the page</p>"), ("model.onnx", "the model"), ("ort.mjs", "the library")):
        (tmp_path / name).write_text(content)
    words = (sys.executable, Path(browser.__file__), fake, tmp_path, tmp_path / "page.html", tmp_path / "model.onnx")
    result = tmp_path / "probabilities.npy"
    if reason is None:
        run([*words, subject.images, "7", result], tmp_path, 25)
        assert np.array_equal(np.load(result), np.zeros((IMAGES, CLASSES), np.float32))
    else:
        with pytest.raises(CommandError) as raised:
            run([*words, subject.images, "7", result], tmp_path, 25)
        assert str(raised.value).startswith(reason)


# ---- the table and the document


def test_every_version_is_exact_and_every_runtime_has_its_name_title_and_program(tmp_path: Path) -> None:
    assert len({this.name for this in RUNTIMES}) == len({this.title + str(this.version) for this in RUNTIMES})
    for this in RUNTIMES:
        assert this.pinned
        assert all(pin.partition("==")[2] for pin in this.pinned), this.name
        assert (this.because is not None) == (this.largest_difference > 1e-5), this.name
        assert write_program(this.heading, tmp_path).stat().st_size > 300
    assert select("tract,onnxruntime")[1].version == constraints()["onnxruntime"]


def test_the_lock_of_npm_is_of_its_package_file_with_a_checksum_of_everything() -> None:
    wanted = json.loads((NODE / "package.json").read_text())["dependencies"]
    locked = json.loads((NODE / "package-lock.json").read_text())["packages"]
    assert locked.pop("")["dependencies"] == wanted
    assert all(package["integrity"].startswith("sha512-") for package in locked.values())
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version


@pytest.mark.parametrize(("heading", "count"), [("Programs", 0), ("Nowhere", 0), ("Two", 2)])
def test_a_document_without_exactly_one_program_is_refused(heading: str, count: int, tmp_path: Path) -> None:
    document = tmp_path / "portability.md"
    document.write_text("# Programs\n```sh\nls\n```\n## Two\n```js\n1\n```\n```python\n2\n```\n")
    with pytest.raises(StudyError, match=f"heading '{heading}', found {count}"):
        write_program(heading, tmp_path, document)


# ---- the command


def test_the_command_measures_what_is_exported_and_writes_the_matrix(trained: Trained) -> None:
    root = trained.artifacts.root
    made = conftest.run(
        *("export", "conformance", "gap", "--artifacts", root, "--images", "9", "--runtimes", "onnxruntime,reference")
    )
    assert made.returncode == 0, made.stderr
    record = read_json(trained.artifacts.portability, "portability/1", "")
    assert (record["images"], record["batches"]) == (9, [1, 7, 64])
    assert [this["version"] for this in record["runtimes"]] == [constraints()["onnxruntime"], constraints()["onnx"]]
    assert [(c["runtime"], c["batch"], c["verdict"], c["shape"]) for c in record["cells"]] == [
        (name, batch, "passed", [9, 10]) for name in ("onnxruntime", "reference") for batch in (1, 7, 64)
    ]
    assert {c["onnx_sha256"] for c in record["cells"]} == {
        read_json(trained.artifacts.run("gap", 0).export, "export/1", "")["onnx_sha256"]
    }
    assert "6 passed, 0 failed, 0 not run, 9 images each" in made.stdout
    assert str(ROOT) not in trained.artifacts.portability.read_text()
    trained.artifacts.portability.unlink()


def test_a_quantised_form_is_held_against_onnx_runtime_in_the_same_batches(
    trained: Trained, data: Path, tmp_path: Path
) -> None:
    """The ranges of a dynamic one are those of the batch, so that what is right differs from batch to batch."""
    artifacts = trained.copy(tmp_path / "a")
    files, raw = artifacts.run("gap", 0), Variant(input="uint8")
    pictures, labels = images.load(data, train=False)
    export(catalogue.entry("gap"), files.of(Variant(int8="dynamic")), pictures[:64], labels[:64])
    write_json(files.of(raw).export, {**read_json(files.export, "export/1", ""), "variant": raw.record()})

    def found(variants: str) -> list[Subject]:
        words = ("gap", "--artifacts", str(artifacts.root), "--data", str(data), "--images", "64")
        return find(command.arguments([*words, "--variants", variants]), artifacts, tmp_path)

    standard, quantised = found("standard,int8-dynamic")
    assert (standard.model, standard.largest_difference, standard.mismatches) == ("gap", 1e-5, 0)
    assert (quantised.model, quantised.largest_difference, quantised.mismatches) == ("gap-int8-dynamic", 0.05, 0.01)
    np.testing.assert_array_equal(standard.expected[1], standard.expected[64])
    assert np.abs(quantised.expected[1] - quantised.expected[64]).max() > 1e-5
    with pytest.raises(StudyError, match=r"expected forms that take images in 0\.\.1, found uint8"):
        found("standard,uint8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runtimes", "netscape"], "no runtime is called 'netscape'; there are: onnxruntime, "),
        (["--runtimes", ","], "--runtimes names none"),
        (["--images", "0"], "--images: expected at least 1, found 0"),
        (["no-such-model"], "no-such-model"),
        ([], "no finished run in "),
    ],
)
def test_a_users_mistake_is_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError) as raised:
        command.main([*words, "--artifacts", str(tmp_path)])
    assert message in str(raised.value)


def test_a_model_that_is_not_exported_is_an_error_that_names_the_command(artifacts: Artifacts) -> None:
    artifacts.run("baseline", 0).onnx.unlink(missing_ok=True)
    artifacts.run("baseline", 0).export.unlink(missing_ok=True)
    with pytest.raises(StudyError, match=r"run `python -m export baseline`"):
        command.main(["baseline", "--artifacts", str(artifacts.root)])


def test_interrupted_it_keeps_what_was_measured(subject: Subject, tmp_path: Path) -> None:
    program = f"""
if batch == "1":
    {RIGHT}
else:
    time.sleep(3)
    os.kill({os.getpid()}, signal.SIGINT)
    time.sleep(60)
"""
    this, document = runtime(program, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    started, threads = time.monotonic(), threading.active_count()
    record = command.measure([this], [subject], Artifacts(tmp_path / "artifacts"), work, IMAGES, document)
    assert time.monotonic() - started < 30
    assert [(c["verdict"], c["reason"]) for c in record["cells"]] == [
        ("passed", None),
        ("not run", "interrupted"),
        ("not run", "interrupted"),
    ]
    assert threading.active_count() == threads
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
