"""Every model of the project: its name, its network and its recipe. No torch here.

A model is one entry. To add one, add a line to `ENTRIES` (and, for a new architecture, a module under
`study/networks/`); `python -m train NAME` then trains it, and every later stage finds it by its name.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from study.errors import StudyError, one_line
from study.recipe import Recipe

FASHION_MNIST = "fashion-mnist"


@dataclass(frozen=True)
class Published:
    """A figure in circulation for an entry's network under its published recipe."""

    accuracy: float
    """Percent."""
    source: str
    """Who published it, and what else is to be known of it."""
    images: Literal["test", "validation"] = "test"
    """Which images it is the accuracy on."""
    seconds: float | None = None
    """Of the training, on the publication's own machine."""


@dataclass(frozen=True)
class Entry:
    """One model: `network` is the import path of a `torch.nn.Module` that takes no arguments."""

    name: str
    network: str
    recipe: Recipe
    dataset: str = FASHION_MNIST
    origin: Literal["own", "published", "modern"] = "own"
    """Whose the recipe is; `modern` is this project's own for a network that others have published with another one."""
    published: Published | None = None
    largest_difference: float = 1e-5
    """Of any probability between two engines, for them to count as computing the same."""
    note: str = ""
    """What of the network or the recipe was decided here, the publication being silent."""


LENET5 = "study.networks.lenet5:LeNet5"
LENET5_GAP = "study.networks.lenet5:LeNet5GAP"

REGULARISERS = (
    Entry("baseline", LENET5, Recipe()),
    Entry("l2-1e-4", LENET5, Recipe(l2=1e-4)),
    Entry("l2-1e-3", LENET5, Recipe(l2=1e-3)),
    Entry("l1-1e-4", LENET5, Recipe(l1=1e-4)),
    Entry("l1-1e-3", LENET5, Recipe(l1=1e-3)),
    Entry("gap", LENET5_GAP, Recipe()),
)

IN_COLOUR = {
    LENET5: "study.networks.lenet5_colour:LeNet5Colour",
    LENET5_GAP: "study.networks.lenet5_colour:LeNet5GAPColour",
}
CIFAR10 = tuple(
    replace(entry, name=f"{entry.name}-cifar10", network=IN_COLOUR[entry.network], dataset="cifar10")
    for entry in REGULARISERS
)


def _published(**values: Any) -> Recipe:
    """A recipe as others have published it: a constant rate and images as they are, unless it says otherwise."""
    return Recipe(**{"schedule": "constant", "flip": False, "shift": 0, "unshifted": 0, **values})


def _both(
    name: str, network: str, published: Recipe, modern: Recipe, figure: Published | None, note: str = ""
) -> tuple[Entry, Entry]:
    """One network under the recipe it was published with, and under this project's own."""
    return (
        Entry(name, network, published, origin="published", published=figure, note=note),
        Entry(f"{name}-modern", network, modern, origin="modern", published=figure),
    )


CONVNET_7X7 = _both(
    "convnet-7x7",
    "study.networks.convnet_7x7:ConvNet7x7",
    _published(epochs=10, batch_size=32, optimiser="nadam", learning_rate=1e-3, validation=5000),
    Recipe(
        epochs=16,
        batch_size=128,
        learning_rate=0.05,
        l2=2.5e-4,
        label_smoothing=0.1,
        dropout=0.2,
        unshifted=3,
        bfloat16=True,
    ),
    Published(90.19, "Géron, Hands-On Machine Learning, chapter 14; the book's notebook has 91.17"),
    "kept for validation are the last 500 images of each class, not the last 5,000 of all; Nadam is torch's",
)

LENET5_1998 = tuple(
    # its scores are distances of the order of 100: a relative 1e-5 of them is 1e-3, half of it in a probability at most
    replace(entry, largest_difference=5e-4)
    for entry in _both(
        "lenet5-1998",
        "study.networks.lenet5_1998:LeNet5Of1998",
        _published(epochs=20, batch_size=32, learning_rate=3e-3, momentum=0.0, rubbish=1.0),
        Recipe(batch_size=128, learning_rate=1e-2, rubbish=1.0),
        None,
        "the paper gives no rate that can be taken over, its method being of second order and for one image at a time: "
        "only the criterion is the published one",
    )
)

_CNN5 = _published(epochs=150, batch_size=64, learning_rate=1e-3, validation=6000, patience=10)
_CNN5_MODERN = Recipe(epochs=40, dropout=0.1)
_KEPT = "how many images were kept for validation was not published: 6,000, a tenth"
_STUDY = "a study of batch sizes"
CNN5 = (
    *_both(
        "cnn5",
        "study.networks.cnn5:CNN5",
        _CNN5,
        _CNN5_MODERN,
        Published(90.7, _STUDY, "validation", seconds=543),
        _KEPT,
    ),
    Entry(
        "cnn5-batch128",
        "study.networks.cnn5:CNN5",
        replace(_CNN5, batch_size=128),
        origin="published",
        published=Published(90.8, _STUDY, "validation", seconds=592),
    ),
    *_both(
        "cnn5-drawn",
        "study.networks.cnn5:CNN5Drawn",
        _CNN5,
        _CNN5_MODERN,
        None,
        "drawn in the same publication, whose figures are of the other one",
    ),
)

MINI_VGG = (
    *_both(
        "mini-vgg",
        "study.networks.mini_vgg:MiniVGG",
        _CNN5,
        Recipe(epochs=20, batch_size=128, learning_rate=0.05, l2=2.5e-4, label_smoothing=0.1, bfloat16=True),
        Published(92.2, _STUDY, "validation", seconds=755),
        _KEPT,
    ),
    Entry(
        "mini-vgg-batch128",
        "study.networks.mini_vgg:MiniVGG",
        replace(_CNN5, batch_size=128),
        origin="published",
        published=Published(92.1, _STUDY, "validation", seconds=1153),
    ),
)

_VARIANTS = "a comparison of LeNet-5's variants"
_LENET5 = _published(epochs=60, batch_size=100, optimiser="adam", learning_rate=1e-4, initialisation="he")
_LENET5_MODERN = Recipe(epochs=40)
LENET5_VARIANTS = (
    *_both(
        "lenet5-plain",
        "study.networks.lenet5_variants:LeNet5Plain",
        _LENET5,
        _LENET5_MODERN,
        Published(89.27, _VARIANTS),
        "how the weights of the four lenet5-* begin was not published: as He et al. draw them",
    ),
    *_both(
        "lenet5-weight-decay",
        "study.networks.lenet5_variants:LeNet5Plain",
        replace(_LENET5, weight_decay=1e-4),
        replace(_LENET5_MODERN, l2=1e-3),
        Published(89.30, _VARIANTS),
        "the strength of the weight decay was not published: 1e-4, of all parameters",
    ),
    *_both(
        "lenet5-dropout",
        "study.networks.lenet5_variants:LeNet5Dropout",
        _LENET5,
        replace(_LENET5_MODERN, dropout=0.05),
        Published(88.55, _VARIANTS),
        "rate and places of the dropout were not published: 0.5, before both fully-connected layers",
    ),
    *_both(
        "lenet5-batchnorm",
        "study.networks.lenet5_variants:LeNet5BatchNorm",
        _LENET5,
        _LENET5_MODERN,
        Published(90.16, _VARIANTS),
    ),
)

_TUNED = "study.networks.tuned:Tuned"
_SEARCHED = Published(91.17, "a search of the hyper-parameters of one network, of which the layers are not published")
TUNED = (
    Entry(
        "tuned",
        _TUNED,
        Recipe(  # what `python -m train search tuned --trials 33 --epochs 4` found
            epochs=12,
            batch_size=64,
            optimiser="nadam",
            learning_rate=0.00559,
            warmup=0.326,
            label_smoothing=0.0484,
            dropout=0.269,
            flip=False,
            rotation=0.162,
            erasing=0.356,
            unshifted=2,
            bfloat16=True,
            l2=1.45e-06,
        ),
        published=_SEARCHED,
        note="the network is this project's: the difference is not one of recipes alone",
    ),
    Entry(
        "tuned-modern",
        _TUNED,
        Recipe(
            epochs=12, batch_size=128, learning_rate=0.05, l2=2.5e-4, label_smoothing=0.1, unshifted=2, bfloat16=True
        ),
        origin="modern",
        published=_SEARCHED,
    ),
)

ENTRIES = (*REGULARISERS, *CONVNET_7X7, *LENET5_1998, *CNN5, *MINI_VGG, *LENET5_VARIANTS, *TUNED, *CIFAR10)

STUDIES = {
    name: tuple(entry.name for entry in entries)
    for name, entries in {
        "regularisers": REGULARISERS,
        "convnet-7x7": CONVNET_7X7,
        "lenet5-1998": LENET5_1998,
        "cnn5": CNN5,
        "mini-vgg": MINI_VGG,
        "lenet5-variants": LENET5_VARIANTS,
        "tuned": TUNED,
        "cifar10": CIFAR10,
    }.items()
}
"""Named sets of models; the first model of a study is the baseline that the others are compared with."""

DEFAULT_STUDY = "regularisers"
DEFAULT_SEEDS = (0, 1, 2)


def entry(name: str) -> Entry:
    """The entry called `name`.

    Raises:
        StudyError: no entry has that name; the message lists those there are.
    """
    for candidate in ENTRIES:
        if candidate.name == name:
            return candidate
    raise StudyError(f"no model is called {name!r}; the catalogue has: {', '.join(e.name for e in ENTRIES)}")


def select(names: Sequence[str] = (), study: str = DEFAULT_STUDY, dataset: str = "") -> list[Entry]:
    """The entries called `names`, each once and in that order, or without names those of `study`.

    With `dataset`, what is meant is the same models for that data set: an entry that is for it, or else NAME-DATASET.

    Raises:
        StudyError: there is no such study or model, or none for that data set.
    """
    if study not in STUDIES:
        raise StudyError(f"no study is called {study!r}; there are: {', '.join(STUDIES)}")
    entries = [entry(name) for name in names or STUDIES[study]]
    return list(dict.fromkeys(_on(one, dataset) if dataset else one for one in entries))


def _on(one: Entry, dataset: str) -> Entry:
    if one.dataset == dataset:
        return one
    for candidate in ENTRIES:
        if candidate.name == f"{one.name}-{dataset}" and candidate.dataset == dataset:
            return candidate
    there = ", ".join(candidate.name for candidate in ENTRIES if candidate.dataset == dataset)
    raise StudyError(f"{one.name} has no counterpart for {dataset}; the models for it are: {there or 'none'}")


def extend(file: Path) -> None:
    """Add the `ENTRIES` of a Python file from outside the project; its folder becomes one that modules come from.

    The file is run, as any program of the user's is. Networks may be in it or in modules beside it: an entry's
    `network` is then "my_models:MyNetwork".

    Raises:
        StudyError: it cannot be read or run, has no entries, or one has the name of another.
    """
    global ENTRIES
    if not file.is_file():
        raise StudyError(f"--catalogue {file}: expected a Python file with ENTRIES, found no such file")
    if not file.stem.isidentifier() or file.suffix != ".py":
        raise StudyError(f"--catalogue {file}: expected a name that can be imported, such as my_models.py")
    sys.path.append(str(file.resolve().parent))  # last: nothing in it takes the place of a module of the project
    try:
        module = import_module(file.stem)
    except (Exception, SystemExit) as error:  # whatever the user's own lines do
        raise StudyError(f"--catalogue {file} cannot be imported ({type(error).__name__}: {one_line(error)})") from None
    if Path(getattr(module, "__file__", None) or "").resolve() != file.resolve():
        raise StudyError(
            f"--catalogue {file}: a module called {file.stem} is there already; give the file another name"
        )
    entries = getattr(module, "ENTRIES", ())
    if not isinstance(entries, tuple | list) or not entries or not all(isinstance(e, Entry) for e in entries):
        raise StudyError(f"--catalogue {file}: expected ENTRIES = (Entry(...), ...) with study.catalogue.Entry")
    for one in entries:
        if not all(isinstance(value, str) for value in (one.name, one.network, one.dataset)):
            raise StudyError(f"--catalogue {file}: expected texts as name, network and dataset, found {one}")
    names = [e.name for e in (*ENTRIES, *entries)]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name == "search":
            raise StudyError(f"--catalogue {file}: {name!r} is no name for a model: letters, digits, '.', '_' and '-'")
        if names.count(name) > 1:
            raise StudyError(f"--catalogue {file}: two models are called {name!r}; rename one")
    ENTRIES = (*ENTRIES, *entries)
