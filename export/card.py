"""The model card: what there is to know of an ONNX file, for people. Made from run.json and export.json alone."""

from dataclasses import asdict
from typing import Any

from study.data.datasets import titled
from study.errors import StudyError
from study.recipe import recorded
from study.variants import STANDARD, Variant, variant_of

LEVELS = {1: "grey level", 3: "red, green and blue, each"}
"""What an image's channels are, by how many there are."""
LICENCES = {
    "Fashion-MNIST": "MIT licence, Copyright (c) 2017 Zalando SE, https://tech.zalando.com",
    "CIFAR-10": "its authors (Krizhevsky, Nair, Hinton) state no licence; they ask that *Learning Multiple Layers of "
    "Features from Tiny Images*, 2009, be cited",
}
RECIPE = {
    "epochs": "epochs at most",
    "batch_size": "images a step",
    "learning_rate": "learning rate, constant or the highest",
    "warmup": "share of the steps in which the rate rises (one-cycle)",
    "momentum": "momentum (SGD)",
    "rubbish": "score of one more class, with its sign turned (MAP criterion)",
    "dropout": "rate of dropout layers",
    "initialisation": "initial weights",
    "flip": "images mirrored",
    "shift": "images moved, by up to so many pixels",
    "rotation": "images turned, by up to so many degrees",
    "erasing": "share of images with a rectangle blackened",
    "unshifted": "epochs at the end without these",
    "validation": "training images kept back for validation",
    "patience": "epochs without a lower validation loss before it stops",
    "l1": "L1 penalty",
    "l1_update": "step of the L1 penalty",
    "l2": "L2 penalty",
}
"""Fields of a recipe whose names do not say it."""


def card(run: dict[str, Any], export: dict[str, Any]) -> str:
    """The card, in Markdown, of the file that export.json (`export`) describes, made from the run of run.json (`run`).

    Raises:
        StudyError: the run's data set is none of the project's, or its recipe has a field that is none of a recipe's.
    """
    variant = variant_of(export)
    dataset = titled(run["dataset"]["name"])
    try:
        recipe = asdict(recorded(run["recipe"]))
    except ValueError as error:
        raise StudyError(f"run.json of {run['model']}: {error}; run `python -m train {run['model']} --fresh`") from None
    classes = [*run["dataset"]["classes"]]
    shape = ", ".join(map(str, dataset.shape))
    form = f"{variant.input} [batch, {shape}]"
    scale = f"{LEVELS[dataset.shape[0]]} {'0 to 255' if variant.input == 'uint8' else '0 to 1'}"
    file = f"{variant.named('model')}.onnx"
    parts = [
        f"# {run['model']}, seed {run['seed']}",
        f"Classifies images of {dataset.shape[1]}x{dataset.shape[2]} pixels as one of the {len(classes)} classes of "
        f"{dataset.title}. The network is {code(run['network'])} of this project, with {run['parameters']:,} "
        f"parameters; `{file}` is the whole of it, weights inside.{_form(variant)}",
        "## Use",
        f"```python\nimport onnxruntime\nsession = onnxruntime.InferenceSession({file!r})\n"
        '(probabilities,) = session.run(["probabilities"], {"image": images})\n```',
        _table(
            "|  | name | type and shape | values |",
            [
                ("input", "`image`", f"{form}", f"{scale}; the normalisation is in the graph"),
                ("output", "`probabilities`", f"float32 [batch, {len(classes)}]", "0 to 1, their sum is 1"),
            ],
        ),
        "Any batch. The probabilities are those of, in this order:",
        "\n".join(f"{number}. {code(name)}" for number, name in enumerate(classes)),
        "## Accuracy",
        _table("| images | in | error, % |", _errors(run, export)),
        _agreement(export, variant),
        "## Training",
        f"On {dataset.train_images - recipe['validation']:,} training images of {dataset.title}, for {run['epochs']} "
        f"epochs, the weights of epoch {run.get('kept_epoch', run['epochs'])} kept. The recipe:",
        _table(
            "| recipe |  |",
            [(RECIPE.get(name, name.replace("_", " ")), _value(name, value)) for name, value in recipe.items()],
        ),
        "## File",
        _table("|  |  |", _facts(run, export)),
        "## Licences",
        f"{dataset.title}: {LICENCES[dataset.title]}. Code of this project: MIT licence, Copyright (c) 2026 The "
        "fashionbench authors.",
    ]
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """Any text as it is, in Markdown: in one line, within a table too."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text).replace("|", r"\|")
    fence = "`"
    while fence in line:
        fence += "`"
    space = " " if "`" in line or not line.strip() else ""
    return f"{fence}{space}{line}{space}{fence}"


def _form(variant: Variant) -> str:
    if variant == STANDARD:
        return " It is in the form that every runtime tried computes alike."
    made = f" It was made with `python -m export{variant.options}`;"
    return f"{made} `model.onnx` is the standard form, which more runtimes load."


def _errors(run: dict[str, Any], export: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = [("training", "PyTorch", run["train_error"]), ("test", "PyTorch", run["test_error"])]
    if run.get("validation_error") is not None:
        found.insert(1, ("validation", "PyTorch", run["validation_error"]))
    if export["test_error_onnxruntime"] is not None:
        found.append(("test", "ONNX Runtime", export["test_error_onnxruntime"]))
    return [(images, engine, f"{100 * error:.2f}") for images, engine, error in found]


def _agreement(export: dict[str, Any], variant: Variant) -> str:
    parity = export["parity"]
    return (
        f"ONNX Runtime against PyTorch, on the first {parity['images']:,} test images: the largest difference of a "
        f"probability is {parity['max_abs_difference']:.0e}, {parity['argmax_mismatches']:,} classes differ."
        + (" (8-bit integers are no exact copy: the errors above tell what they cost.)" if variant.int8 else "")
    )


def _facts(run: dict[str, Any], export: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("opset, IR version", f"{export['opset']}, {export['ir_version']}"),
        ("bytes", f"{export['bytes']:,}"),
        ("SHA-256", f"`{export['onnx_sha256']}`"),
        ("SHA-256 of the checkpoint", f"`{export['checkpoint_sha256']}`"),
        ("trained with", _made_with(run["environment"])),
        ("exported with", _made_with(export["environment"])),
    ]


def _made_with(environment: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    commit = environment["commit"]
    changed = " with changes" if environment["dirty"] else ""
    return code(f"Python {environment['python']}, {packages}" + (f"; commit {commit[:12]}{changed}" if commit else ""))


def _value(name: str, value: Any) -> str:
    if value is None:
        return "as the network has it" if name == "dropout" else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else code(value) if isinstance(value, str) else f"{value:,}"


def _table(header: str, rows: list[Any]) -> str:
    rule = "|" + "---|" * (header.count("|") - 1)
    return "\n".join([header, rule, *(f"| {' | '.join(row)} |" for row in rows)])
