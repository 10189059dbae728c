"""The findings on the first screen of a report, and whether its measurements are valid (findings.j2 says them)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.measures.pruning import LOSS_ALLOWED
from analysis.pages.zeros import Answer
from analysis.tables import headline

Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Errors:
    """The mean test error of a model, and its difference from the baseline's; fractions."""

    model: str
    error: float
    change: float


@dataclass(frozen=True)
class Accuracy:
    """Which trained models are better than the baseline, each group from the lowest error up."""

    models: int
    lowest: Errors
    baseline: Errors | None
    better: tuple[Errors, ...]
    worse: tuple[Errors, ...]
    alike: tuple[Errors, ...]
    unjudged: tuple[Errors, ...]


@dataclass(frozen=True)
class Ratio:
    """A model's speed-up and its 95 % interval."""

    model: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Speeds:
    """The lowest and the highest speed-up of several models; the same one of a single model."""

    models: int
    lowest: Ratio
    highest: Ratio


@dataclass(frozen=True)
class Costs:
    """What a call and what each item of it costs in both engines, for one model, in seconds."""

    model: str
    torch_fixed: float
    torch_per_item: float
    onnxruntime_fixed: float
    onnxruntime_per_item: float


@dataclass(frozen=True)
class Median:
    model: str
    runtime: str
    seconds: float


@dataclass(frozen=True)
class Speed:
    """ONNX Runtime against torch: valid comparisons only."""

    item: str
    eager: Speeds | None
    """Against eager torch, with one item."""
    best: Speeds | None
    """Best against best, with one item."""
    withheld: int
    """Comparisons with eager torch, with one item, that are not valid."""
    withheld_best: int
    """Likewise of best against best."""
    medians: tuple[Median, ...]
    """Of the first model measured with one item."""
    other: bool
    """Whether anything else was measured."""
    large: Speeds | None
    """With the largest batch of more than one item that has a valid comparison."""
    large_batch: int
    large_best: bool
    """Whether `large` is best against best."""
    costs: Costs | None
    """Of a model whose line is valid in both engines, none of them below 0."""


@dataclass(frozen=True)
class Share:
    """The exact zeros of a model, a fraction of its fully-connected weights, and the price of them in test error."""

    model: str
    share: float
    change: float | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Form:
    """A form of a file that makes use of zeros: its time over that of the dense one."""

    form: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Zeros:
    """The model with the most zeros, what they make faster, and what can be pruned."""

    layers: bool
    """Whether any model has fully-connected layers."""
    most: Share | None
    faster: tuple[Form, ...]
    """From the fastest."""
    slower: tuple[Form, ...]
    """Those that are not shown to be faster."""
    prunable: tuple[Share, ...]
    """The model with the most prunable weights and, if there are several, that with the fewest."""
    loss_allowed: float


@dataclass(frozen=True)
class Validity:
    """How many measurements there are, how many of them are not valid or a trial, and how many notes."""

    measured: int
    invalid: int
    quick: int
    notes: int

    @property
    def doubtful(self) -> bool:
        return bool(self.invalid or self.quick)


def accuracy(summary: pd.DataFrame) -> Accuracy | None:
    """The finding of accuracy, or None where nothing was trained."""
    rows = summary[summary["test_error_mean"].notna()].sort_values("test_error_mean", kind="stable")
    if rows.empty:
        return None
    groups: dict[str, list[Errors]] = {}
    for row in _rows(rows):
        groups.setdefault(str(row.verdict), []).append(_errors(row))
    return Accuracy(
        models=len(rows),
        lowest=_errors(next(iter(_rows(rows)))),
        baseline=next(iter(groups.get("baseline", [])), None),
        better=tuple(groups.get("better", ())),
        worse=tuple(groups.get("worse", ())),
        alike=tuple(groups.get("not distinguishable", ())),
        unjudged=tuple(groups.get("not judged", ())),
    )


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples(index=False))


def _errors(row: Any) -> Errors:
    return Errors(row.model, float(row.test_error_mean), float(row.test_error_change))


def speed(frames: Frames, item: str) -> Speed:
    """The finding of speed, from the tables `latency`, `comparisons` and `costs`, of every model in them."""
    latency, compared = frames["latency"], frames["comparisons"]
    models = list(dict.fromkeys([*latency["model"], *compared["model"]]))
    chosen = headline.at_batch_1(models, latency, compared)
    medians = pd.concat([cases for cases, _ in chosen]) if chosen else latency
    pairs = pd.concat([pairs for _, pairs in chosen]) if chosen else headline.comparisons(compared)
    eager, best = headline.plain(pairs), headline.best(pairs)
    compared = headline.on_first_device(compared)
    several = headline.comparisons(compared[compared["batch"] > 1])
    valid = several.loc[several["verdict"] != headline.WITHHELD, "batch"]
    batch = int(valid.max()) if len(valid) else 1
    large = several[several["batch"] == batch]
    large_best = _speeds(headline.best(large)) if len(large) else None
    large_plain = _speeds(headline.plain(large)) if len(large) else None
    first = medians[medians["model"] == medians["model"].iloc[0]] if len(medians) else medians
    engines = first[first["runtime"].isin(("torch", "onnxruntime"))]
    return Speed(
        item=item,
        eager=_speeds(eager),
        best=_speeds(best),
        withheld=int((eager["verdict"] == headline.WITHHELD).sum()),
        withheld_best=int((best["verdict"] == headline.WITHHELD).sum()),
        medians=tuple(Median(row.model, row.runtime, row.median_seconds) for row in _rows(engines)),
        other=bool(len(latency) or len(compared)),
        large=large_best or large_plain,
        large_batch=batch,
        large_best=bool(large_best),
        costs=_costs(headline.costs(frames["costs"])),
    )


def _speeds(pairs: pd.DataFrame) -> Speeds | None:
    valid = pairs[pairs["verdict"] != headline.WITHHELD].sort_values("ratio", kind="stable")
    ratios = [Ratio(row.model, row.ratio, row.low, row.high) for row in _rows(valid)]
    return Speeds(len(ratios), ratios[0], ratios[-1]) if ratios else None


def _costs(costs: pd.DataFrame) -> Costs | None:
    if costs.empty:
        return None
    usable = costs[costs["valid"].astype(bool) & (costs["fixed_seconds"] > 0) & (costs["device"] == "cpu")]
    for model, rows in usable.groupby("model", sort=False):
        by_engine = {row.runtime: row for row in _rows(rows)}
        if by_engine.keys() >= {"torch", "onnxruntime"}:
            torch, other = by_engine["torch"], by_engine["onnxruntime"]
            return Costs(
                str(model), torch.fixed_seconds, torch.per_item_seconds, other.fixed_seconds, other.per_item_seconds
            )
    return None


def zeros(summary: pd.DataFrame, answers: Sequence[Answer]) -> Zeros:
    """The finding of sparsity, from the table `summary` and the answers of zeros.j2."""
    known = summary[summary["fc_exact_zeros_mean"].notna()]
    sparse = known[known["fc_exact_zeros_mean"] > 0].sort_values("fc_exact_zeros_mean", kind="stable")
    most: Share | None = None
    forms: list[Any] = []
    for row in _rows(sparse.tail(1)):
        judged = row.verdict in ("better", "worse", "not distinguishable")
        change = float(row.test_error_change) if judged else None
        most = Share(row.model, float(row.fc_exact_zeros_mean), change, str(row.verdict))
        forms = [form for answer in answers if answer.model == row.model for form in answer.measured]
    forms = sorted(forms, key=lambda form: float(form.ratio))
    faster = [form for form in forms if form.latency_verdict == "faster"]
    cut = summary[summary["fc_cut_mean"].notna()].sort_values("fc_cut_mean", ascending=False, kind="stable")
    prunable = [Share(row.model, float(row.fc_cut_mean)) for row in _rows(cut)]
    return Zeros(
        layers=not known.empty,
        most=most,
        faster=tuple(map(_form, faster)),
        slower=tuple(_form(form) for form in forms if form.latency_verdict != "faster"),
        prunable=tuple(dict.fromkeys([*prunable[:1], *prunable[-1:]])),
        loss_allowed=LOSS_ALLOWED,
    )


def _form(row: Any) -> Form:
    return Form(row.form, row.ratio, row.ratio_low, row.ratio_high)


def validity(frames: Frames, notes: Sequence[str]) -> Validity:
    """How far the measurements in these tables are valid."""
    tables = [frames[name] for name in ("latency", "comparisons", "cold_starts", "loads")]
    return Validity(
        measured=sum(map(len, tables)),
        invalid=sum(int((~table["valid"].astype(bool)).sum()) for table in tables),
        quick=sum(int(table["quick"].astype(bool).sum()) for table in tables),
        notes=len(notes),
    )
