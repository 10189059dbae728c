"""What the report says in sentences: the facts without which a number means nothing, and the verdicts in words."""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from analysis.inputs.benchmarks import machine
from analysis.inputs.runs import Study
from analysis.tables import headline as headlines
from analysis.tables.headline import WITHHELD, at_batch_1
from analysis.tables.latency import Measured
from analysis.tables.numbers import TIMES, interval, number, runtime, threads

DOUBTFUL = "† measured under conditions that make it invalid."


def facts(study: Study, summary: pd.DataFrame, cases: pd.DataFrame, compared: pd.DataFrame) -> list[str]:
    """The sentences below the summary: n, the criterion, machine, versions and commit of training and measuring."""
    counts = sorted(set(summary["runs"]))
    sentences = [
        f"n = {' or '.join(map(str, counts))} run{'' if counts == [1] else 's'} per model; test errors are mean ± "
        "sample standard deviation (ddof 1) of the runs."
    ]
    if study.baseline in study.models:
        sentences.append(
            f"The difference is of the mean test errors, against {study.baseline}, in points. It is called better or "
            "worse only if it exceeds the noise: twice its standard error, from the seeds and, image by image, from "
            f"the choice of the {study.runs[0].wrong.size:,} test images that all runs share."
        )
    sentences += _pruning_facts(study)
    sentences += [f"Trained on {text}." for text in describe(run.record["environment"] for run in study.runs)]
    sentences += latency_facts(study, cases, compared)
    if summary["latency_valid"].eq(False).any():
        sentences.append(DOUBTFUL)
    sentences += [f"Measured on {text}." for text in describe(study.measured.environments)]
    return sentences


def _pruning_facts(study: Study) -> Iterator[str]:
    """What "can be cut" means, and what it costs on the test images."""
    records = [run.pruning for run in study.runs if run.pruning]
    if records:
        losses = [(record["test"]["error"] - record["test"]["uncut_error"]) * 100 for record in records]
        yield (
            f"Can be cut: the share of the fully-connected weights, the smallest first and those that are zero already "
            f"included, that can be set to zero in the ONNX file, without training it again, at a loss of "
            f"{records[0]['loss_allowed'] * 100:g} points of accuracy or less on {records[0]['images']['count']:,} "
            f"training images; the mean of the runs. On the test images these cuts then cost "
            f"{number(min(losses), '+.2f')} to {number(max(losses), '+.2f')} points."
        )


def latency_facts(study: Measured, cases: pd.DataFrame, compared: pd.DataFrame) -> Iterator[str]:
    """How the latencies and speed-ups in the summary were measured."""
    chosen = [at_batch_1(model, cases, compared) for model in study.models]
    medians, pairs = (pd.concat(frames) for frames in zip(*chosen, strict=True))
    if medians.empty:
        yield "No latency has been measured."
    else:
        samples = " to ".join(f"{n:,}" for n in sorted({medians["samples"].min(), medians["samples"].max()}))
        yield f"Latency is the median of {samples} calls with one image ({_settings(medians)})."
    pairs = pairs[(pairs["reference"] == "torch") & (pairs["runtime"] == "onnxruntime")]
    if pairs.empty:
        yield "No speed-up has been measured."
    else:
        n = " to ".join(str(n) for n in sorted({pairs["processes"].min(), pairs["processes"].max()}))
        yield (
            "Speed-up is the time of torch over that of ONNX Runtime, both called in turns in blocks of random order, "
            f"with its 95 % interval, from {n} process{'' if n == '1' else 'es'} a model ({_settings(pairs)}). The "
            f"noise floor, as far as either engine seems to differ from itself, is "
            f"{pairs['noise_floor'].max() * 100:.2f} % at most; what does not exceed it is no difference."
        )


def _settings(rows: pd.DataFrame) -> str:
    """Device, threads, mode and seed of headline rows."""
    settings: Iterable[Any] = rows[["device", "threads", "mode", "seed"]].drop_duplicates().itertuples(index=False)
    return " and ".join(f"{s.device}, {threads(s.threads)}, mode {s.mode}, seed {s.seed}" for s in settings)


def speedups(compared: pd.DataFrame) -> Iterator[str]:
    """One sentence a comparison with one image, of the frame `comparisons`, the user's own files included."""
    rows: Iterable[Any] = headlines.comparisons(compared[compared["batch"] == 1]).itertuples(index=False)
    for row in rows:
        own, other = runtime(row.runtime, row.device), runtime(row.reference, row.device)
        where = f"with one image, {threads(row.threads)}, mode {row.mode}"
        if row.verdict == WITHHELD:
            why = f" ({row.reasons})" if row.reasons else ""
            yield f"{row.model}: {own} against {other} {where}: withheld{why}."
        else:
            ratio = interval(row.ratio, row.low, row.high, ".2f", unit=TIMES)
            floor = f"noise floor {row.noise_floor * 100:.2f} %"
            yield f"{row.model}: {own} is {ratio} as fast as {other} {where}, {floor}: {row.verdict}."


def without_zeros(study: Study, sparsity: pd.DataFrame) -> Iterator[str]:
    """Of each model trained with L1, in which runs which layers have no weight that is exactly zero."""
    penalised = {run.model for run in study.runs if run.record["recipe"].get("l1")}
    rows = sparsity[
        (sparsity["measure"] == "exact_zeros") & sparsity["model"].isin(penalised) & (sparsity["value"] == 0)
    ]
    for (model, layer), found in rows.groupby(["model", "layer"], sort=False):
        runs = ", ".join(map(str, found["seed"]))
        yield (
            f"{model}: trained with L1, and yet no weight of {layer} is exactly zero (seed {runs}): they were made "
            "small, not zero, and a runtime can leave out none."
        )


def describe(environments: Iterable[dict[str, Any]]) -> list[str]:
    """Each different machine, set of versions and commit in one phrase."""
    return list(dict.fromkeys(f"{machine(made)}{versions(made)}; {commit(made)}" for made in environments))


def versions(environment: dict[str, Any]) -> str:
    """How a machine was set, its system and its packages: ", turbo off, Linux, Python 3.11.0, torch 2.13.0"."""
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    turbo = {True: ", turbo on", False: ", turbo off", None: ""}[environment.get("turbo")]
    governor = f", governor {environment['governor']}" if environment.get("governor") else ""
    return f"{governor}{turbo}, {environment['system']}, Python {environment['python']}, {packages}"


def commit(environment: dict[str, Any]) -> str:
    dirty = " with uncommitted changes" if environment["dirty"] else ""
    return f"commit {environment['commit'][:12]}{dirty}" if environment["commit"] else "no commit known"


def verdicts(baseline: str, summary: pd.DataFrame) -> Iterator[str]:
    """One sentence a model: its test error against the baseline's, and whether that is more than noise."""
    rows: Iterable[Any] = summary.itertuples(index=False)
    for row in rows:
        error = f"{row.model}: {row.test_error_mean * 100:.2f} % test error"
        if row.verdict == "baseline":
            yield f"{error}; the baseline."
        elif row.verdict == "not judged":
            yield f"{error}; not judged, which takes two runs or more of it and of {baseline}."
        else:
            change = (
                f"{abs(row.test_error_change) * 100:.2f} points {'below' if row.test_error_change < 0 else 'above'}"
            )
            yield (
                f"{error}, {change} {baseline}, with a noise of {row.test_error_noise * 100:.2f} points: {row.verdict}."
            )
