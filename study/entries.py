"""The entries of the catalogue, study by study; study/catalogue.py looks them up. No torch here.

To add a model, add an entry to a study (and, for a new architecture, a module to `study/networks/`):
`python -m train NAME` trains it, and every later stage knows it by its name.
"""

from dataclasses import replace

from msgspec import structs

from study.entry import Entry, Published
from study.recipe import Recipe

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
    if entry.network in IN_COLOUR
)

PLAIN = Recipe(schedule="constant", flip=False, shift=0, unshifted=0)
"""What the published recipes have in common: a constant learning rate and no augmentation."""
LARGE = Recipe(batch_size=128, learning_rate=0.05, l2=2.5e-4, label_smoothing=0.1, bfloat16=True)
"""What the modern recipes of the larger networks have in common."""


def both(
    name: str, network: str, published: Recipe, modern: Recipe, result: Published | None = None, note: str = ""
) -> tuple[Entry, Entry]:
    """One network with its published recipe and with this project's own."""
    return (
        Entry(name, network, published, origin="published", published=result, note=note),
        Entry(f"{name}-modern", network, modern, origin="modern", published=result),
    )


CONVNET_7X7 = both(
    "convnet-7x7",
    "study.networks.convnet_7x7:ConvNet7x7",
    structs.replace(PLAIN, epochs=10, batch_size=32, optimiser="nadam", learning_rate=1e-3, validation=5000),
    structs.replace(LARGE, epochs=16, dropout=0.2, unshifted=3),
    Published(90.19, "Géron, Hands-On Machine Learning, chapter 14; the book's notebook has 91.17"),
    "validated on the last 500 images of each class, not on the last 5,000 of all; Nadam is torch's",
)

LENET5_1998 = tuple(
    # its scores are distances of about 100: a relative error of 1e-5 is 1e-3, and changes a probability by half of it
    replace(entry, largest_difference=5e-4)
    for entry in both(
        "lenet5-1998",
        "study.networks.lenet5_1998:LeNet5Of1998",
        structs.replace(PLAIN, epochs=20, batch_size=32, learning_rate=3e-3, momentum=0.0, rubbish=1.0),
        Recipe(batch_size=128, learning_rate=1e-2, rubbish=1.0),
        note="only the loss is the published one: the paper's learning rates are for a second-order method with one "
        "image at a time",
    )
)

BATCH64 = structs.replace(PLAIN, epochs=150, batch_size=64, learning_rate=1e-3, validation=6000, patience=10)


def batch_sizes(
    name: str, network: str, modern: Recipe, batch64: tuple[float, float], batch128: tuple[float, float]
) -> tuple[Entry, ...]:
    """One network of a study of batch sizes, which published an accuracy in percent and seconds for each."""
    first, second = (
        Published(accuracy, "a study of batch sizes", "validation", s) for accuracy, s in (batch64, batch128)
    )
    note = "the publication does not say how many images it validated on; here 6,000, a tenth"
    published = Entry(
        f"{name}-batch128", network, structs.replace(BATCH64, batch_size=128), origin="published", published=second
    )
    return (*both(name, network, BATCH64, modern, first, note), published)


CNN5_MODERN = Recipe(epochs=40, dropout=0.1)
CNN5 = (
    *batch_sizes("cnn5", "study.networks.cnn5:CNN5", CNN5_MODERN, (90.7, 543), (90.8, 592)),
    *both(
        "cnn5-drawn",
        "study.networks.cnn5:CNN5Drawn",
        BATCH64,
        CNN5_MODERN,
        note="as the publication draws it; its results are for the network it describes",
    ),
)
MINI_VGG = batch_sizes(
    "mini-vgg", "study.networks.mini_vgg:MiniVGG", structs.replace(LARGE, epochs=20), (92.2, 755), (92.1, 1153)
)


def lenet5_variant(
    name: str, network: str, accuracy: float, published: Recipe, modern: Recipe, note: str = ""
) -> tuple[Entry, Entry]:
    """One variant of LeNet-5 with both recipes."""
    result = Published(accuracy, "a comparison of LeNet-5's variants")
    return both(f"lenet5-{name}", f"study.networks.lenet5_variants:LeNet5{network}", published, modern, result, note)


VARIANT_PUBLISHED = structs.replace(
    PLAIN, epochs=60, batch_size=100, optimiser="adam", learning_rate=1e-4, initialisation="he"
)
VARIANT_MODERN = Recipe(epochs=40)
LENET5_VARIANTS = (
    *lenet5_variant(
        "plain",
        "Plain",
        89.27,
        VARIANT_PUBLISHED,
        VARIANT_MODERN,
        "the publication does not state the initialisation of the four lenet5-*; here that of He et al.",
    ),
    *lenet5_variant(
        "weight-decay",
        "Plain",
        89.30,
        structs.replace(VARIANT_PUBLISHED, weight_decay=1e-4),
        structs.replace(VARIANT_MODERN, l2=1e-3),
        "the publication does not state the weight decay; here 1e-4 on all parameters",
    ),
    *lenet5_variant(
        "dropout",
        "Dropout",
        88.55,
        VARIANT_PUBLISHED,
        structs.replace(VARIANT_MODERN, dropout=0.05),
        "the publication states neither rate nor position of the dropout; here 0.5 before both fully-connected layers",
    ),
    *lenet5_variant("batchnorm", "BatchNorm", 90.16, VARIANT_PUBLISHED, VARIANT_MODERN),
)

SEARCHED = Published(91.17, "a hyper-parameter search on one network, whose layers are not published")
TUNED = (
    Entry(
        "tuned",
        "study.networks.tuned:Tuned",
        Recipe(  # the winner of `python -m train search tuned --trials 33 --epochs 4`
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
        published=SEARCHED,
        note="the network is this project's, so the recipe alone does not explain the difference",
    ),
    Entry(
        "tuned-modern",
        "study.networks.tuned:Tuned",
        structs.replace(LARGE, epochs=12, unshifted=2),
        origin="modern",
        published=SEARCHED,
    ),
)

STUDIES = {
    "regularisers": REGULARISERS,
    "convnet-7x7": CONVNET_7X7,
    "lenet5-1998": LENET5_1998,
    "cnn5": CNN5,
    "mini-vgg": MINI_VGG,
    "lenet5-variants": LENET5_VARIANTS,
    "tuned": TUNED,
    "cifar10": CIFAR10,
}
