"""index.html: the report as one self-contained page, which needs no network and is whole without its script."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from analysis.inputs.files import MODULES
from analysis.inputs.forms import of_study
from analysis.inputs.modules import Module
from analysis.inputs.study import Study
from analysis.pages import findings, summary
from analysis.pages import portability as portability_page
from analysis.pages import zeros as zeros_page
from analysis.pages.markup import LEFT, render
from analysis.pages.provenance import commands
from analysis.pages.search import search_results
from analysis.plots import training as history_plots
from analysis.tables import costs as costs_tables
from analysis.tables import exports as exports_tables
from analysis.tables import headline
from analysis.tables import latency as latency_tables
from analysis.tables import loads as loads_tables
from analysis.tables import modules as modules_tables
from analysis.tables import profiles as profile_tables
from analysis.tables import sparsity as sparsity_tables
from analysis.tables import summary as summary_tables
from analysis.tables import training as training_tables
from analysis.tables import zeros as zeros_tables
from analysis.tables.cold_starts import COLD_STARTS
from analysis.tables.columns import common_settings, text
from analysis.tables.numbers import MISSING, runtime
from study.catalogue import DEFAULT_STUDY
from study.environment import describe
from study.families import family

MEASURED = {
    "latency": latency_tables.LATENCY,
    "costs": costs_tables.COSTS,
    "comparisons": latency_tables.COMPARISONS,
    "cold_starts": COLD_STARTS,
    "loads": loads_tables.LOADS,
}
SHOWN = {
    "summary": summary_tables.SUMMARY,
    "runs": training_tables.RUNS,
    "modules": modules_tables.MODULES,
    "parity": modules_tables.PARITY,
    **MEASURED,
}
"""The columns of tables that are on the page."""
ROWS = 300
"""Rows of these tables on the page at most; the CSV files have all."""


def with_assets(html: str) -> str:
    """The page with its style and its script, which are no templates: both are full of braces and backticks."""
    for tag, name in (("style", "report.css"), ("script", "report.js")):
        text = (Path(__file__).parent / name).read_text(encoding="utf-8")
        html = html.replace(f"<{tag}></{tag}>", f"<{tag}>\n{text}</{tag}>")
    return html


def title(study: Study) -> str:
    """The heading of the page."""
    if study.name == MODULES:
        return f"{'Accuracy, latency' if study.runs else 'Latency'}, sparsity and parity of {', '.join(study.models)}"
    if study.name == DEFAULT_STUDY and len(study.models) == 1:
        return f"Accuracy, sparsity and speed of {study.models[0]} on {study.runs[0].record.dataset.name}"
    subject = "Regularisation" if study.name == DEFAULT_STUDY else study.name
    data = dict.fromkeys(run.record.dataset.name for run in study.runs)
    return f"{subject}, accuracy, sparsity and speed on {' and '.join(data)}"


def page(
    study: Study,
    frames: Mapping[str, pd.DataFrame],
    pictures: Mapping[str, bytes],
    missing_images: str = "",
    has_try_page: bool = False,
) -> str:
    """The report as one self-contained HTML page, but for `with_assets`; `pictures` are SVG files by name."""
    history, layers = frames["history"], frames["sparsity"]
    portability = study.portability.of(study.models) if study.portability else None
    tried = portability_page.values(portability) if portability and portability.cells else {"portability": None}
    listed = {name: frames[name] for name in SHOWN}
    listed["comparisons"] = headline.without_settings(frames["comparisons"])
    item = summary.item(study, frames["latency"])
    answers = list(zeros_page.answers(of_study(study), frames["zeros"], frames["ranks"]))
    return render(
        "report.html.j2",
        "html",
        **{**tried, **summary.values(study, frames)},
        **zeros_page.values(answers, frames["zeros"]),
        accuracy=findings.accuracy(frames["summary"]),
        speed=findings.speed(frames, item),
        zeros=findings.zeros(frames["summary"], answers),
        validity=findings.validity(frames, study.notes),
        datasets=list(dict.fromkeys(run.record.dataset.name for run in study.runs)),
        engines=engines(frames["latency"]),
        left=LEFT,
        explained=list(summary.explained(study)),
        machines=list(dict.fromkeys(describe(made).machine for made in study.measured.environments)),
        is_default=study.name == DEFAULT_STUDY,
        several=len(study.models) - len(study.modules) > 1,
        measured_here=frames["overview"]["runtime"].notna().any(),
        entropies=frames["sparsity"]["measure"].str.startswith("H_S").any(),
        missing_images=missing_images,
        has_try_page=has_try_page,
        commands=list(commands(study)),
        files=files(study),
        study=study,
        title=title(study),
        frames=frames,
        shown={
            "sparsity": sparsity_tables.by_layer(layers),
            "variants": exports_tables.shown(frames["variants"]),
            "profile_modules": profile_tables.shown(frames["profile_modules"]),
            "zeros": zeros_tables.shown(frames["zeros"]),
            "ranks": zeros_tables.ranks_shown(frames["ranks"]),
            **{name: text(columns, listed[name], ROWS) for name, columns in SHOWN.items()},
            "summary": text(summary_tables.RESULTS, frames["summary"], ROWS),
        },
        unlisted={name: len(rows) - ROWS for name, rows in listed.items() if len(rows) > ROWS},
        settings={name: common_settings(columns, frames[name]) for name, columns in MEASURED.items()},
        headline_cases=headline.cases(frames["latency"]),
        headline_costs=headline.costs(frames["costs"]),
        peaks=study.measured.peaks_by_threads,
        several_batches=frames["latency"]["batch"].nunique() > 1,
        margins=[f"{100 * margin:g}" for margin in sorted(set(frames["comparisons"]["margin"]))],
        compared=headline.without_settings(
            headline.comparisons(frames["comparisons"][frames["comparisons"]["batch"] == 1])
        ),
        validated=history["validation_loss"].notna().any(),
        stopped_early=any(history_plots.stopped_early(run) for _, run in history.groupby(["model", "seed"])),
        searches=search_results(study.searches, study.runs),
        without_layers=[model for model in study.models if model not in set(layers["model"])],
        noise=sparsity_tables.noise(layers),
        proofs=list(dict.fromkeys(map(proof, study.modules))),
        unsparse=list(without_zeros(study, layers)),
        all_rows=list(frames["variants"].itertuples(index=False)),
        pictures=pictures,
    )


def engines(latency: pd.DataFrame) -> list[str]:
    """The engines of a table of latencies in words, each with the number of its settings."""
    counts = Counter(family(name) for name in dict.fromkeys(latency["runtime"]))
    return [f"{runtime(name)}{f' ({n} settings)' if n > 1 else ''}" for name, n in counts.items()]


def files(study: Study) -> pd.DataFrame:
    """The ONNX file of each run and module, by its digest."""
    rows = [(one.model, getattr(one, "seed", None), one.onnx_sha256) for one in study.files]
    made = pd.DataFrame(rows, columns=["model", "seed", "SHA-256 of the ONNX file"]).astype({"seed": object})
    return made.dropna(axis=1, how="all").fillna(MISSING)[:ROWS]


def proof(module: Module) -> str:
    """The inputs that a module's outputs were compared on, in words."""
    return f"seeded inputs of batch sizes {', '.join(map(str, module.record.batches))}"


def without_zeros(study: Study, sparsity: pd.DataFrame) -> Iterator[tuple[str, str, list[int]]]:
    """Layers of models trained with L1 without an exactly zero weight: model, layer, and seeds of the runs."""
    penalised = {run.model for run in study.runs if run.record.recipe.l1}
    of_l1 = (sparsity["measure"] == "exact_zeros") & sparsity["model"].isin(penalised)
    for (model, layer), rows in sparsity[of_l1 & (sparsity["value"] == 0)].groupby(["model", "layer"], sort=False):
        yield str(model), str(layer), list(rows["seed"])
