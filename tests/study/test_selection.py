"""A user's own models from a file outside the project, as the README shows it; the errors of a wrong file."""

import re
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from study import catalogue
from study.artifacts import Artifacts
from study.bench_file import read_bench
from study.entry import Entry
from study.errors import StudyError
from study.recipe import Recipe
from study.record_files import read_record
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.selection import add_options, selected
from tests.conftest import ROOT, run
from train.listing import in_words
from train.runs import cost

_, SECTION = (ROOT / "README.md").read_text().split("## Adding a model")
MY_MODELS = next(code for code in re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL) if "ENTRIES" in code)
COMMANDS = re.findall(r"^(?:python -m )?(\w+ .*--catalogue my_models\.py.*)$", SECTION, re.MULTILINE)


def choose(*words: str) -> list[str]:
    """Names of the entries that the words of a command line mean."""
    parser = ArgumentParser()
    parser.add_argument("models", nargs="*")
    add_options(parser.add_argument)
    options = parser.parse_args(words)
    return [entry.name for entry in selected(options, options.models)]


@pytest.fixture
def my_models(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "my_models.py"
    file.parent.mkdir()
    file.write_text(MY_MODELS)
    return file


def test_a_model_in_a_file_of_ones_own_goes_all_the_way(my_models: Path, data: Path, tmp_path: Path) -> None:
    """The README's file and commands; training, cold start and the second process are processes of their own."""
    root, file = tmp_path / "artifacts", tmp_path / "bench.json"
    root.mkdir()
    (root / "data").symlink_to(data)
    short = {
        "train": ("--epochs", "1", "--seeds", "0"),
        "export": (),
        "pytest": ("--quick", "--batches", "1", "--cold-starts", "1"),
    }
    assert [command.split()[0] for command in COMMANDS] == list(short)
    for command in COMMANDS:
        words = command.replace("my_models.py", str(my_models)).replace("FILE", str(file)).split()
        done = run(*words, *short[words[0]], "--artifacts", root)
        assert done.returncode == 0, done.stdout + done.stderr

    files = Artifacts(root).run("mine", 0)
    record = read_record(files.record, RunRecord, "")
    assert (record.network, record.recipe.optimiser) == ("my_models:Mine", "adamw")
    assert record.test_error < 0.5
    assert read_record(files.export, ExportRecord, "").parity.argmax_mismatches == 0
    measured = read_bench(file, "")
    assert [(case.key.model, case.key.runtime) for case in measured.cases] == [
        ("mine", "torch"),
        ("mine", "onnxruntime"),
    ]
    assert [start.key.runtime for start in measured.cold_starts] == ["torch", "onnxruntime"]


def test_the_list_has_it_too(my_models: Path) -> None:
    shown = run("train", "--list", "--catalogue", my_models).stdout
    assert re.search(
        r"^mine  .*fashion-mnist  my_models:Mine .* 3,098  10 epochs, batch 256, adamw 0\.003", shown, re.M
    )
    names = [line.split()[0] for line in shown.splitlines()[1:] if not line.startswith("study ")]
    assert names == [*(entry.name for entry in catalogue.ENTRIES), "mine"]
    columns = {line.index("fashion-mnist") for line in shown.splitlines() if "fashion-mnist" in line}
    assert len(columns) == 1, "no name is too long for its column"


def test_a_wrong_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / "absent.py"
    shown = run("train", "--list", "--catalogue", file)
    message = f"error: --catalogue {file}: expected a Python file with ENTRIES, found no such file\n"
    assert (shown.returncode, shown.stdout, shown.stderr) == (2, "", message)


IMPORTS = "from study.catalogue import Entry\nfrom study.recipe import Recipe\n"
WRONG = (
    ("my-models.py", "", "expected a name that can be imported, such as my_models.py"),
    ("mine.py", "", r"expected ENTRIES = \(Entry\("),
    ("mine.py", f"{IMPORTS}ENTRIES = (Entry('mine', 'mine:M', Recipe()))", r"expected ENTRIES = \(Entry\("),
    ("mine.py", f"{IMPORTS}ENTRIES = [Entry('mine', 'mine:M', Recipe(), None)]", "expected strings as name, network"),
    ("mine.py", "ENTRIES = (\n", r"cannot be imported \(SyntaxError: '\(' was never closed"),
    ("mine.py", f"{IMPORTS}Recipe(epochs=0)", r"\(ValueError: epochs: expected a "),
    ("mine.py", f"{IMPORTS}ENTRIES = [Entry('gap', 'mine:M', Recipe())]", "two models are called 'gap'; rename one"),
    ("mine.py", f"{IMPORTS}ENTRIES = [Entry('../gap', 'mine:M', Recipe())]", r"'\.\./gap' is no name for a model"),
    ("json.py", "ENTRIES = ()", "a module called json exists already; give the file another name"),
    ("sys.py", "ENTRIES = ()", "a module called sys exists already"),
    ("train.py", "ENTRIES = ()", "a module called train exists already"),
)


def test_a_wrong_file_is_refused_with_its_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = [*sys.path]
    for n, (name, code, message) in enumerate(WRONG):
        file = tmp_path / str(n) / name
        file.parent.mkdir()
        file.write_text(code)
        monkeypatch.setattr(sys, "path", [*path])
        with pytest.raises(StudyError) as error:
            catalogue.extended(file)
        assert re.match(rf"--catalogue {re.escape(str(file))}:? .*{message}", str(error.value)), error.value
        assert "\n" not in str(error.value)
        sys.modules.pop("mine", None)


NETWORKS = (
    ("mine:Absent", "", r"the network 'mine:Absent' cannot be imported \(AttributeError: "),
    ("absent:M", "", r"the network 'absent:M' cannot be imported \(ModuleNotFoundError: "),
    ("mine:M", "def __init__(self, n): ...", r"mine:M\(\) fails \(TypeError: .*'n'"),
    ("study.entries:CIFAR10", "", "cannot be|fails"),
    (
        "mine:M",
        "def forward(self, x): return x.reshape(-1, 3072)[:, :10]",
        r"cannot be trained on the images of Fashion-MNIST, float32 \['N', 1, 28, 28\] \(RuntimeError: ",
    ),
    (
        "mine:M",
        "def forward(self, x): return x.flatten(1)[:, :10]",
        "cannot be trained on .*does not require grad",
    ),
    (
        "mine:M",
        "def forward(self, x): assert not self.training, 'only to be used'",
        "cannot be trained on .*AssertionError: only to be used",
    ),
    (
        "mine:M",
        "def forward(self, x): return x.flatten(1)[:, :11]",
        r"expected logits \[N, 10\] of mine:M, found \[2, 11\] for 2 images",
    ),
)


def test_a_wrong_network_is_an_error_of_one_line_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, (network, body, message) in enumerate(NETWORKS):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "mine.py").write_text(f"from torch import nn\nclass M(nn.Module):\n    {body or 'pass'}\n")
        monkeypatch.syspath_prepend(folder)
        with pytest.raises(StudyError, match=f"^mine: .*{message}") as error:
            cost(Entry("mine", network, Recipe()))
        assert "\n" not in str(error.value)
        sys.modules.pop("mine", None)


def test_a_data_set_chooses_the_same_models_for_it() -> None:
    assert choose("gap", "--dataset", "cifar10") == ["gap-cifar10"]
    assert choose("gap-cifar10", "gap", "--dataset", "cifar10") == ["gap-cifar10"]
    assert choose("gap", "--dataset", "fashion-mnist") == ["gap"]
    assert choose("--study", "cifar10") == choose("--dataset", "cifar10")
    assert choose() == ["baseline", "l2-1e-4", "l2-1e-3", "l1-1e-4", "l1-1e-3", "gap"]
    with pytest.raises(StudyError, match="no data set is called 'cifar'; there are: fashion-mnist, cifar10"):
        choose("gap", "--dataset", "cifar")
    with pytest.raises(StudyError, match="cnn5 has no counterpart for cifar10; the models for it are: base"):
        choose("cnn5", "--dataset", "cifar10")
    with pytest.raises(StudyError, match="baseline-cifar10 has no counterpart for fashion-mnist"):
        choose("--study", "cifar10", "--dataset", "fashion-mnist")
    with pytest.raises(StudyError, match="no study is called 'x'"):
        choose("gap", "--study", "x")


def test_a_recipe_in_words_is_what_differs() -> None:
    of = {entry.name: in_words(entry.recipe) for entry in catalogue.ENTRIES}
    assert of["baseline"] == "28 epochs, batch 256, sgd 0.1 one-cycle"
    assert of["l1-1e-3"] == "28 epochs, batch 256, sgd 0.1 one-cycle, L1 0.001"
    still = "no flip, no shift, validation 6000, patience 10"
    assert of["cnn5"] == f"150 epochs, batch 64, sgd 0.001 constant, {still}"
