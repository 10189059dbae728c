"""What training writes: run.json of each run, search.json of each search of hyper-parameters."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from study.recipe import FIRST, Recipe
from study.records.base import (
    AtLeastOne,
    Count,
    Environment,
    Loss,
    NotNegative,
    Record,
    Scalar,
    Seed,
    Sha256,
    Share,
)

Device: TypeAlias = Literal["cpu", "cuda"]


class TrainedOn(Record):
    """The data set of a run."""

    name: str
    """Its title; where it differs from the catalogue's, the run is trained again."""
    classes: tuple[str, ...]
    """In the order of the outputs."""
    mean: Share | tuple[Share, ...]
    """Mean of the training images' pixels, in 0..1; of colour images a list, one number for each channel."""
    std: Share | tuple[Share, ...]
    """Their standard deviation."""
    files: dict[str, Annotated[str, Meta(pattern="^([0-9a-f]{32}|[0-9a-f]{64})$")]]
    """SHA-256 of each file; for CIFAR-10 the published MD5."""


class RunRecord(Record, kw_only=True, tag_field="schema", tag="run/2"):
    """One finished run: one model trained with one seed."""

    model: str
    seed: Seed
    network: str
    network_sha256: Sha256
    """SHA-256 of the network's source file; where it, `network` or `recipe` differs from the catalogue, the run is
    trained again."""
    recipe: Recipe
    """Every field of `study.recipe.Recipe`; in older runs a field that came later has its default."""
    dataset: TrainedOn
    parameters: AtLeastOne
    train_error: Share
    """Error of the kept weights in evaluation mode on the images trained on, without augmentation."""
    test_error: Share
    """Likewise on the test images, which nothing else in the training uses."""
    train_loss: Loss
    test_loss: Loss
    penalty: NotNegative
    """l1 * sum \\|w\\| + l2 * sum w^2 over the kernels after the last update; never part of a loss above."""
    learning_rate_sum: NotNegative
    """Sum of the learning rates of all steps."""
    penalty_strength: NotNegative
    """(l1 + l2) * `learning_rate_sum`: for L1 the farthest that all steps together could move a weight; for L2 half the
    exponent by which they shrink it."""
    epochs: AtLeastOne
    kept_epoch: AtLeastOne | None = None
    """Epoch whose weights were kept: the last one, or with early stopping that of the lowest validation loss; not in
    older runs."""
    validation_error: Share | None = None
    """Error on the validation images after `kept_epoch`; null without any, and not in older runs."""
    validation_loss: Loss | None = None
    """Loss on the validation images, likewise."""
    seconds: NotNegative
    """Time of the epochs, with validation, without loading and the final evaluation."""
    images_per_second: NotNegative
    """Training images per second of that time, on one core or the GPU."""
    device: Device = "cpu"
    """Where it was trained; older runs on the CPU."""
    gpu: str | None = None
    """Name of the GPU; null on the CPU."""
    environment: Environment
    checkpoint_sha256: Sha256
    history_sha256: Sha256
    """SHA-256 of history.csv; where it, or the next one, differs, the run is trained again."""
    predictions_sha256: Sha256
    """SHA-256 of predictions.csv."""

    def __post_init__(self) -> None:
        if (self.kept_epoch or 1) > self.epochs:
            raise ValueError("Expected `kept_epoch` <= `epochs`")
        if (self.validation_error is None) != (self.validation_loss is None):
            raise ValueError("Expected both `validation_error` and `validation_loss` or neither")

    @classmethod
    def lacks(cls, content: Mapping[str, Any]) -> str:
        return next((f"`{key}` - at `$.recipe`" for key in FIRST if key not in content["recipe"]), "")


class EpochRecord(Record, kw_only=True):
    """A row of history.csv; without validation images its validation is empty."""

    epoch: AtLeastOne
    lr: NotNegative
    train_loss: Loss
    train_error: Share
    validation_loss: Loss | None = None
    validation_error: Share | None = None
    seconds: NotNegative

    def __post_init__(self) -> None:
        if (self.validation_error is None) != (self.validation_loss is None):
            raise ValueError("Expected both `validation_error` and `validation_loss` or neither")
        if not math.isfinite(self.lr + self.seconds):
            raise ValueError("Expected finite `lr` and `seconds`")


class ImageCounts(Record):
    """How the training images are split for a search."""

    training: Count
    validation: Count


class SearchRange(Record, omit_defaults=True):
    """The range of one hyper-parameter: either `choices`, or `low`, `high` and `log`."""

    choices: Annotated[tuple[Scalar, ...], Meta(min_length=1)] | None = None
    low: int | float | None = None
    high: int | float | None = None
    log: bool | None = None
    """Whether the logarithm is sampled uniformly."""

    def __post_init__(self) -> None:
        bounds = [value is None for value in (self.low, self.high, self.log)]
        if not (all(bounds) if self.choices is not None else not any(bounds)):
            raise ValueError("Expected either `choices` or all of `low`, `high` and `log`")


class TrialRecord(Record):
    """One trial of a search that has ended."""

    number: Count
    state: Literal["complete", "pruned", "failed"]
    """complete; pruned, also a trial that diverged; failed: its process ended."""
    own: bool
    """Whether it has the entry's own recipe."""
    repeats: Count | None
    """Number of the failed trial that it repeats."""
    values: dict[str, Scalar]
    """The searched fields of the recipe."""
    validation_error: Share | None
    """Error after the last epoch; null unless complete."""
    epochs: Count
    validation_errors: tuple[Share, ...]
    seconds: NotNegative | None
    reason: str | None
    """Why it is not complete; null if it is."""

    def __post_init__(self) -> None:
        complete = self.state == "complete"
        if complete != (self.validation_error is not None) or complete != (self.reason is None):
            raise ValueError("Expected `validation_error` of a complete trial, `reason` of any other")


class BestTrial(Record):
    """The complete trial of the lowest validation error."""

    number: Count
    validation_error: Share
    recipe: Recipe
    """Its recipe for all training images and epochs."""


class Importance(Record):
    """Which hyper-parameters set the best trials apart."""

    evaluator: str
    best_share: Share
    """Share of the trials that counts as the best ones."""
    epoch: Count
    """The trials are compared by their error after this epoch, which most pruned ones have too."""
    trials: Count
    shares: dict[str, Share]
    """Share of each parameter; their sum is 1."""


class SearchRecord(Record, kw_only=True, tag_field="schema", tag="search/2"):
    """A search of the hyper-parameters of one model."""

    model: str
    network: str
    network_sha256: Sha256
    dataset: str
    """Name in the catalogue."""
    images: ImageCounts
    trial_epochs: AtLeastOne
    device: Device = "cpu"
    """Where the trials were trained; older searches on the CPU."""
    trial_seed: Seed
    space: dict[str, SearchRange]
    """Range of each parameter; `learning_rate_sgd` is the rate under SGD, `learning_rate_adam` under the others."""
    finished: AtLeastOne
    """Trials that are complete or pruned."""
    trials: Annotated[tuple[TrialRecord, ...], Meta(min_length=1)]
    """All that have ended."""
    best: BestTrial | None
    """The best complete trial; null before there is one."""
    importance: Importance | None
    """null where fewer than 20 trials have reached the epoch."""
    seeds: tuple[Seed, ...]
    """Seeds of the winner's runs; their test errors are in each run.json."""
    environment: Environment
