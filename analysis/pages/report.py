"""The report: CSV tables, the summary for readers, pictures and one self-contained page."""

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.inputs.files import (
    JSON,
    LOADED,
    MODULES,
    OF_MODULES,
    OF_RUNS,
    PICTURES,
    PORTABILITY,
    PROFILED,
    REPORT,
    SEARCHED,
    TABLES,
    VARIANTS,
)
from analysis.inputs.forms import of_study
from analysis.inputs.modules import Module
from analysis.inputs.study import Study
from analysis.measures.noise import references
from analysis.measures.sparsity import ALWAYS, Measure
from analysis.pages import exports as exports_page
from analysis.pages import findings, summary
from analysis.pages import portability as portability_page
from analysis.pages import zeros as zeros_page
from analysis.pages.markup import LEFT, latex, render
from analysis.pages.search import search_results
from analysis.plots import costs as costs_plots
from analysis.plots import errors as errors_plots
from analysis.plots import histogram as histogram_plots
from analysis.plots import latency as latency_plots
from analysis.plots import matrices as matrices_plots
from analysis.plots import overview as overview_plots
from analysis.plots import profiles as profile_plots
from analysis.plots import search as search_plots
from analysis.plots import sparsity as weight_plots
from analysis.plots import training as history_plots
from analysis.plots.beside import draw_beside, of_first_models
from analysis.plots.mistakes import mistakes
from analysis.plots.pruning import pruning
from analysis.tables import costs as costs_tables
from analysis.tables import exports as exports_tables
from analysis.tables import headline, pictured
from analysis.tables import latency as latency_tables
from analysis.tables import loads as loads_tables
from analysis.tables import matrices as matrices_tables
from analysis.tables import modules as modules_tables
from analysis.tables import profiles as profile_tables
from analysis.tables import search as search_tables
from analysis.tables import sparsity as sparsity_tables
from analysis.tables import summary as summary_tables
from analysis.tables import training as training_tables
from analysis.tables import zeros as zeros_tables
from analysis.tables.cold_starts import COLD_STARTS, cold_starts
from analysis.tables.columns import common_settings, read, text, write_as_json, write_frame
from analysis.tables.numbers import MISSING, runtime
from analysis.tables.pictured import MODELS
from study.catalogue import DEFAULT_STUDY
from study.data import arrays
from study.data.datasets import DATASETS
from study.environment import describe
from study.errors import StudyError
from study.families import family
from study.files import read_plain, write_text

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
RESULTS = [column for column in summary_tables.SUMMARY if column.key != "speedup_batch1_unpaired"]
"""Of the first table, whose speed-up has no other ratio beside it; comparisons have both, and say why."""
ROWS = 300
"""Rows of these tables on the page at most; the CSV files have all."""


def write(study: Study, folder: Path, measures: Sequence[Measure], data: Path | None = None) -> Iterator[Path]:
    """Write the report, with these measures of sparsity, into `folder`, yielding each file once it is there.

    `data` is the folder of the data sets, whose images are shown if they are there.
    """
    images, missing_images = read_images(study, data)
    frames = all_tables(study, measures)
    study = replace(study, measured=study.measured.in_tables)
    noise = references(measures)
    tables, drawn = chosen(study)
    for name in tables:
        yield write_frame(folder / f"{name}.csv", frames[name])

    for name in JSON:
        write_as_json(folder / f"{name}.json", read(folder / f"{name}.csv"))
        yield folder / f"{name}.json"

    table, facts = text(summary_tables.SUMMARY, frames["summary"]), summary.values(study, frames)
    write_text(folder / "summary.md", render("summary.md.j2", "md", summary=table, **facts))
    yield folder / "summary.md"
    write_text(folder / "summary.tex", latex(table, render("summary.tex.j2", "txt", **facts)))
    yield folder / "summary.tex"

    pictures = {}
    draw: dict[str, Callable[[pd.DataFrame], Figure]] = {
        "sparsity": lambda frame: weight_plots.sparsity(frame, study.models[:MODELS], noise),
        "weights_histogram": histogram_plots.histograms,
        "pruning": lambda frame: pruning(frame, list(study.models[:MODELS])),
        "convergence": lambda frame: history_plots.convergence(frame, read(folder / "errors.csv")),
        "overview": overview_plots.overview,
        "errors": errors_plots.errors,
        "confusion": errors_plots.confusion,
        "mistakes": lambda frame: mistakes(frame, images),
        "filters": matrices_plots.filters,
        "matrices": matrices_plots.matrices,
        "history": history_plots.histories,
        **{name: getattr(latency_plots, name) for name in latency_plots.PICTURES},
        "costs": lambda frame: costs_plots.costs(frame, read(folder / "latency.csv")),
        "profile_modules": profile_plots.profile_modules,
        "search": search_plots.search,
        "importance": search_plots.importance,
    }
    for name in drawn:
        yield from draw_beside(folder / f"{name}.csv", of_first_models(draw[name], study.models))
        pictures[name] = read_plain(folder / f"{name}.svg", None)

    for names, there in (
        (VARIANTS, study.has_variants),
        (PORTABILITY, study.portability),
        ([f"{name}.csv" for name in LOADED], study.measured.loads),
        ([f"{name}{suffix}" for name in PROFILED for suffix in (".csv", ".svg", ".png")], study.measured.profiles),
        ([name for name in REPORT if Path(name).stem in OF_RUNS], study.runs),
    ):
        for name in () if there else names:
            (folder / name).unlink(missing_ok=True)  # of what has become stale, or is gone
    if study.has_variants:
        yield from exports_page.write(frames["variants"], folder)
    if study.portability:
        yield from portability_page.write(study.portability, folder)
        pictures["portability"] = portability_page.svg(study.portability.of(study.models))

    write_text(folder / "index.html", with_assets(page(study, frames, pictures, missing_images)))
    yield folder / "index.html"


def chosen(study: Study) -> tuple[list[str], list[str]]:
    """The tables that a report on this study has as files, and the pictures: without a training there is less."""
    tables = [*TABLES, *(OF_MODULES if study.modules else ()), *(SEARCHED if study.searches else ())]
    tables = [name for name in tables if study.runs or name not in OF_RUNS]
    tables += LOADED if study.measured.loads else ()
    tables += PROFILED if study.measured.profiles else ()
    return tables, [name for name in tables if name in (*PICTURES, *SEARCHED, PROFILED[1])]


def all_tables(study: Study, measures: Sequence[Measure] = ALWAYS) -> dict[str, pd.DataFrame]:
    """Every table of the report by name."""
    runs, latency = training_tables.runs(study), latency_tables.latency(study.measured)
    pairs = latency_tables.comparisons(study.measured)
    variants = exports_tables.variants(study)
    summary_rows = summary_tables.summary(study, runs, latency, pairs)
    return {
        "summary": summary_rows,
        "runs": runs,
        "sparsity": sparsity_tables.sparsity(study, measures),
        "weights_histogram": sparsity_tables.weights_histogram(study),
        "pruning": sparsity_tables.pruning(study),
        "convergence": training_tables.convergence(study),
        "history": training_tables.history(study.runs),
        "latency": latency,
        "costs": costs_tables.costs_table(study.measured),
        "comparisons": pairs,
        "images_per_second": pictured.images_per_second(latency),
        "accuracy": pictured.accuracy(runs, latency),
        "overview": pictured.overview(runs, latency),
        "errors": pictured.errors(runs, summary_rows),
        "confusion": pictured.confusion(study.runs),
        "mistakes": pictured.mistakes(study.runs),
        "filters": matrices_tables.filters(study),
        "matrices": matrices_tables.matrices(study),
        "cold_starts": cold_starts(study.measured),
        "loads": loads_tables.loads(study.measured),
        "profile": profile_tables.profile(study.measured),
        "profile_modules": profile_tables.profile_modules(study.measured),
        "search": search_tables.trials(study.searches),
        "importance": search_tables.importance(study.searches),
        "variants": variants,
        "zeros": zeros_tables.zeros(of_study(study), study.paired, zeros_tables.medians(variants), pairs),
        "ranks": zeros_tables.ranks_of(
            ({"model": one.model, "seed": one.seed}, each) for one in study.files for each in one.layers
        ),
        "modules": modules_tables.modules(study),
        "parity": modules_tables.parity(study),
    }


def read_images(study: Study, data: Path | None) -> tuple[NDArray[np.uint8] | None, str]:
    """The test images of the study's runs, or why they are not there."""
    titles = {run.record.dataset.name for run in study.runs}
    name = next((one.name for one in DATASETS.values() if titles == {one.title}), "")
    if not name or data is None:
        return None, "the runs are not of one data set of the catalogue."
    try:
        return arrays.read(data, False, name)[0], ""
    except StudyError as error:
        return None, f"{error}."


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
    study: Study, frames: Mapping[str, pd.DataFrame], pictures: Mapping[str, bytes], missing_images: str = ""
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
        machines=list(dict.fromkeys(describe(made).machine for made in study.measured.environments)),
        is_default=study.name == DEFAULT_STUDY,
        several=len(study.models) - len(study.modules) > 1,
        measured_here=frames["overview"]["runtime"].notna().any(),
        entropies=frames["sparsity"]["measure"].str.startswith("H_S").any(),
        missing_images=missing_images,
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
            "summary": text(RESULTS, frames["summary"], ROWS),
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
        pictures={name: base64.b64encode(svg).decode() for name, svg in pictures.items()},
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
