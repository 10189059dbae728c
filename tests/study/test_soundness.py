"""The checks of a network before it is trained and before it is exported, and how lazy layers get their shapes."""

import re
import sys
from pathlib import Path

import pytest
import torch

from study.entry import Entry
from study.errors import StudyError
from study.networks import build, parameters
from study.recipe import Recipe
from study.soundness import check
from train.resume import serialise

HEAD = """import random, torch, torch.nn.functional as F
from torch import nn
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(784, 10)
        self.d = nn.Dropout(0.5)
        self.n = nn.BatchNorm2d(1, track_running_stats=False)
        self.register_buffer("count", torch.zeros(1))
        self.calls = 0
    def forward(self, x):
        self.calls += 1
"""
UNSOUND = {
    "F.dropout that is always on": ("return self.f(F.dropout(x.flatten(1), 0.3))", "it drops out at mine.py:13; write"),
    "nn.Dropout in training mode": (
        "self.d.train(); return self.f(self.d(x).flatten(1))",
        "it drops out at mine.py:13;",
    ),
    "noise": (
        "return self.f(x.flatten(1)) + torch.randn(10)",
        "it draws random numbers, aten.randn at mine.py:13; draw",
    ),
    "random": ("return self.f(x.flatten(1)) * random.random()", "it gives other results each time, by random numbers"),
    "a state": ("return self.f(x.flatten(1)) * self.calls", "it gives other results each time, by random numbers or a"),
    "a buffer": ("self.count += 1; return self.f(x.flatten(1)) * self.count", "it changes its buffer 'count'; change"),
    "the mean of a batch": (
        "x = x.flatten(1); return self.f(x - x.mean(0))",
        "depend on the other images of its batch",
    ),
    "statistics of a batch": ("return self.f(self.n(x).flatten(1))", "depend on the other images of its batch; use"),
    "a tuple": (
        "y = self.f(x.flatten(1)); return y, y",
        "found a tuple of 2 for 4 images in evaluation mode; return the",
    ),
    "a dict": (
        "return {'logits': self.f(x.flatten(1))}",
        "found a dict of 1 for 4 images in evaluation mode; return the",
    ),
    "nothing": ("self.f(x.flatten(1))", "found nothing for 4 images"),
    "other classes": ("return self.f(x.flatten(1))[:, 1:]", r"expected logits [N, 10] of mine:M, found [4, 9] for 4"),
    "classes as numbers": ("return (self.f(x.flatten(1)) * 9).long()", "found torch.int64 [4, 10] for 4 images"),
    "an error in colours": ("raise ValueError('\\x1b[31mno\\n way\\x1b[0m')", "(ValueError: no way at mine.py:13)"),
    "an exit": ("raise SystemExit(3)", "(SystemExit: 3 at mine.py:13)"),
}
SOUND = {
    "a counter without an effect": "self.count += 1; return self.f(x.flatten(1))",
    "a change of its input": "x -= 0.3; return self.f(x.flatten(1))",
    "dropout in training alone": "return self.f(F.dropout(self.d(x), 0.3, self.training).flatten(1))",
    "not a number": "return self.f(x.flatten(1)) * float('nan')",
}


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The entry of mine.py, which the test writes and may write again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Entry("mine", "mine:M", Recipe())


def write(folder: Path, code: str) -> None:
    (folder / "mine.py").write_text(code)
    sys.modules.pop("mine", None)


def test_a_network_that_cannot_be_evaluated_is_refused_with_the_reason_and_its_line(
    entry: Entry, tmp_path: Path
) -> None:
    for name, (body, message) in UNSOUND.items():
        write(tmp_path, f"{HEAD}        {body}\n")
        with pytest.raises(StudyError, match=re.escape(message)) as error:
            check(entry, build(entry), torch.rand(4, 1, 28, 28))
        assert str(error.value).isprintable(), name


def test_a_network_that_gives_each_image_its_own_logits_passes(entry: Entry, tmp_path: Path) -> None:
    for body in SOUND.values():
        write(tmp_path, f"{HEAD}        {body}\n")
        images = torch.rand(4, 1, 28, 28)
        before = images.clone()
        check(entry, build(entry), images)
        assert torch.equal(images, before)


LAZY = """from torch import nn
def M():
    return nn.Sequential(nn.LazyConv2d(4, 5), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), {last})
"""


def test_lazy_layers_get_their_shapes_and_the_same_seed_gives_the_same_bytes(entry: Entry, tmp_path: Path) -> None:
    write(tmp_path, LAZY.format(last="nn.LazyLinear(10)"))
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        network = build(entry)
        assert network.training
        made.append(serialise(network.state_dict()))
    assert made[0] == made[1] != made[2]
    assert parameters(network) == (25 + 1) * 4 + 2 * 4 + 4 * 24 * 24 * 10 + 10
    assert network.state_dict()["1.running_var"].tolist() == [1.0] * 4, "no statistics of the image that it was shown"


def test_another_network_is_not_run_when_it_is_built(entry: Entry, tmp_path: Path) -> None:
    write(tmp_path, LAZY.replace("Lazy", "").format(last="nn.Linear(4, 10)").replace("d(4, 5)", "d(1, 4, 5)"))
    write(tmp_path, f"{HEAD}        return 1 / 0\n")
    torch.manual_seed(0)
    build(entry)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    torch.nn.Linear(784, 10)
    assert torch.equal(torch.rand(1), drawn), "the state of the random generator is that after the weights"


def test_a_lazy_layer_without_a_shape_is_named(entry: Entry, tmp_path: Path) -> None:
    wrong = {
        "nn.Linear(3, 10)": r"lazy layers of mine:M cannot be initialised by an image float32 \[1, 1, 28, 28\] \(Run",
        "nn.LazyLinear(10) if [] else nn.ModuleList([nn.LazyLinear(1)])": "cannot be initialised",
    }
    for last, message in wrong.items():
        write(tmp_path, LAZY.format(last=last))
        with pytest.raises(StudyError, match=message):
            build(entry)
    write(tmp_path, f"{HEAD}        return self.f(x.flatten(1))\n".replace("nn.Dropout(0.5)", "nn.LazyLinear(3)"))
    with pytest.raises(StudyError, match=r"uses every lazy layer, found 'd\.weight' unused; remove it"):
        build(entry)


def test_what_is_no_network_is_refused(entry: Entry, tmp_path: Path) -> None:
    for code, found in (("M = nn.Linear(1, 1)", "Linear"), ("def M(): return None", "NoneType")):
        write(tmp_path, f"from torch import nn\n{code}\n")
        with pytest.raises(StudyError, match=f"a function that makes a network, found {found} as mine:M; write"):
            build(entry)
