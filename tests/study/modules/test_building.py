"""A module of the user is built from words, or refused in one line that says what to do."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from study.errors import StudyError
from study.modules import namesakes
from study.modules.building import build
from study.modules.finding import absolute, sources
from study.modules.weights import load
from study.modules.words import parse_inputs
from tests.conftest import ROOT
from tests.study.modules.sample import Linear, Tied

SAMPLE = Path(__file__).with_name("sample.py")
X = parse_inputs(["x=float32[batch,4]"])


def weight(network: Any) -> torch.Tensor:
    found: torch.Tensor = network.fc.weight.detach()
    return found


@pytest.mark.parametrize(
    ("factory", "arguments", "reason"),
    [
        ("sample.py", "", r"--module: expected package.module:callable or PATH.py:callable, found 'sample.py'"),
        ("missing.py:Net", "", r"expected a Python file, found no such file at missing.py"),
        ("no_such_package.models:Net", "", r"No module named 'no_such_package'.*pip install no_such_package"),
        (f"{SAMPLE}:Linar", "", r"no attribute 'Linar'; it has: Linear, Tied"),
        (f"{SAMPLE}:number", "", r"expected a callable that returns a torch.nn.Module, found int"),
        (f"{SAMPLE}:nn", "", r"expected a callable, found module"),
        (f"{SAMPLE}:leaving", "", r"cannot be made with no arguments, see --module-args \(it calls sys.exit\)"),
        (f"{SAMPLE}:failing", "", r"ValueError: first line second line at sample.py:\d+\)"),
        (f"{SAMPLE}:scripted", "", r"is a module of TorchScript.*without torch.jit"),
        (f"{SAMPLE}:Linear", "{width", r"--module-args: expected a list or an object in JSON, found '{width'"),
        (f"{SAMPLE}:Linear", '{"depth": 2}', r"unexpected keyword argument 'depth'"),
    ],
)
def test_what_is_no_module_is_one_line(factory: str, arguments: str, reason: str) -> None:
    with pytest.raises(StudyError, match=reason) as raised:
        build(factory, arguments, None, X)
    assert "\n" not in str(raised.value)


def test_an_input_that_forward_does_not_take_is_named_with_those_it_takes() -> None:
    with pytest.raises(
        StudyError, match=r"--input maks: .*ThreeOutputs has no such input; forward takes: x, mask, unused"
    ):
        build(f"{SAMPLE}:ThreeOutputs", "", None, parse_inputs(["x=float32[batch,2]", "maks=bool[batch]"]))


def test_random_weights_are_those_of_the_seed_in_every_process(tmp_path: Path) -> None:
    """Also in one with another working folder: the description has the absolute path."""
    factory = absolute(f"{SAMPLE}:Linear")
    here = weight(build(factory, "[5]", None, X).network)
    code = "from study.modules.building import build; from study.modules.words import parse_inputs\n"
    code += (
        f"print(build({factory!r}, '[5]', None, parse_inputs(['x=float32[batch,4]'])).network.fc.weight.sum().item())"
    )
    words = [sys.executable, "-c", code]
    there = subprocess.run(
        words, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert float(there.stdout) == here.sum().item()
    assert here.shape == (5, 4)


def test_lazy_layers_take_their_shape_from_the_inputs_and_their_weights_from_the_seed() -> None:
    first, second = (weight(build(f"{SAMPLE}:Lazy", "", None, X).network) for _ in range(2))
    assert first.shape == (2, 4)
    assert torch.equal(first, second)


def test_the_sources_are_the_file_and_what_it_imports_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "layers_of_mine.py").write_text("from torch import nn\nclass Net(nn.Linear): pass\n")
    (tmp_path / "mine.py").write_text("from layers_of_mine import Net\ndef net(): return Net(4, 3)\n")
    build(f"{tmp_path}/mine.py:net", "", None, X)
    assert [Path(path).name for path in sources(f"{tmp_path}/mine.py:net")] == ["layers_of_mine.py", "mine.py"]


def test_a_file_of_the_same_name_in_another_folder_is_not_taken_for_the_modules_own(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, width in ((one, 3), (other, 5)):
        folder.mkdir()
        (folder / "namesake.py").write_text(f"WIDTH = {width}\n")
        (folder / "unused.py").write_text("")
        (folder / f"net_{folder.name}.py").write_text(
            "from torch import nn\ndef net():\n    from namesake import WIDTH\n    return nn.Linear(4, WIDTH)\n"
        )
        (folder / "alone.py").write_text("from torch import nn\nimport json\ndef net(): return nn.Linear(4, 2)\n")
    assert build(f"{one}/net_one.py:net", "", None, X).network.weight.shape == (3, 4)
    assert build(f"{other}/alone.py:net", "", None, X).network.weight.shape == (2, 4)
    both = rf"which is {other}/namesake.py, but Python has {one}/namesake.py already; rename one of them, or"
    with pytest.raises(StudyError, match=rf"^--module .*{other}/net_other.py imports namesake, {both}"):
        build(f"{other}/net_other.py:net", "", None, X)


NET = "from torch import nn\n{imports}\ndef net():\n    return nn.Linear(4, {width})\n"


def package(folder: Path, name: str, width: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(f"WIDTH = {width}\n")


def test_a_file_with_the_name_of_an_installed_package_is_imported_and_the_package_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that is imported already, and of one that the project will import."""
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    package(tmp_path / "site-packages", "imported_later", 3)
    for name in ("torch", "imported_later"):
        (tmp_path / f"{name}.py").write_text(NET.format(imports="", width=5))
        assert build(f"{tmp_path}/{name}.py:net", "", None, X).network.weight.shape == (5, 4)
    assert sys.modules["torch"] is torch
    assert importlib.import_module("imported_later").WIDTH == 3


def test_helpers_come_before_installed_packages_unless_the_project_needs_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.setattr(namesakes, "_needed", lambda: {"needed_here"})
    for name in ("needed_here", "helpers_of_many"):
        package(tmp_path / "site-packages", name, 3)
        package(tmp_path / "mine", name, 5)
    imports = "from needed_here import WIDTH as IN\nfrom helpers_of_many import WIDTH as OUT"
    (tmp_path / "mine" / "net_with_helpers.py").write_text(NET.format(imports=imports, width="IN * OUT"))
    factory = f"{tmp_path}/mine/net_with_helpers.py:net"
    assert build(factory, "", None, X).network.weight.shape == (3 * 5, 4)
    assert [Path(path).name for path in sources(factory)] == ["helpers_of_many.py", "net_with_helpers.py"]


def test_tied_weights_stay_tied_also_where_the_file_has_them_once(tmp_path: Path) -> None:
    state = Tied().state_dict()
    del state["head.weight"]
    torch.save(state, tmp_path / "tied.pt")
    network = Tied()
    load(network, tmp_path / "tied.pt")
    assert network.head.weight is network.embedding.weight
    assert torch.equal(network.head.weight, state["embedding.weight"])


def test_weights_of_another_dtype_become_those_of_the_module(tmp_path: Path) -> None:
    other = Linear()
    torch.save({name: one.half() for name, one in other.state_dict().items()}, tmp_path / "half.pt")
    network = Linear()
    load(network, tmp_path / "half.pt")
    assert torch.equal(network.fc.weight, other.fc.weight.half().float())


def test_weights_without_a_safe_form_or_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"

    def refused(content: object, reason: str) -> None:
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            torch.save(content, file)
        with pytest.raises(StudyError, match=reason) as raised:
            load(Linear(), file)
        assert "\n" not in str(raised.value)

    with pytest.raises(StudyError, match="expected a file, found nothing there"):
        load(Linear(), tmp_path / "missing.pt")
    with pytest.raises(StudyError, match="expected a file, found a folder"):
        load(Linear(), tmp_path)
    refused(b"", "expected tensors by name")
    refused(Linear(), "which are not unpickled: they could run code; save module.state_dict()")
    refused([1, 2], "found list; save module.state_dict")
    refused({"state_dict": Linear().state_dict(), "epoch": 3}, "save what is under its key 'state_dict' alone")
    refused(nn.Linear(4, 3).state_dict(), "does not fit the module: .*Missing key")
    refused(Linear(7).state_dict(), "does not fit the module: .*size mismatch for fc.weight")
    refused(
        {f"module.{name}": one for name, one in Linear().state_dict().items()}, "save the state dict of model.module"
    )
    torch.save(Linear().state_dict(), file)
    refused(file.read_bytes()[:-200], "expected tensors by name")


def test_safetensors_without_the_package_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(StudyError, match="run `pip install safetensors`"):
        load(Linear(), tmp_path / "weights.safetensors")
