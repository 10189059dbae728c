"""The report: its CSV tables, the summary for readers, pictures, and the page (index.py)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.inputs.files import (
    JSON,
    LOADED,
    OF_MODULES,
    OF_RUNS,
    PICTURES,
    PORTABILITY,
    PROFILED,
    REPORT,
    SEARCHED,
    TABLES,
    TRY,
    VARIANTS,
)
from analysis.inputs.forms import of_study
from analysis.inputs.study import Study
from analysis.measures.noise import references
from analysis.measures.sparsity import ALWAYS, Measure
from analysis.pages import exports as exports_page
from analysis.pages import portability as portability_page
from analysis.pages import summary
from analysis.pages.index import page, with_assets
from analysis.pages.markup import latex, render
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
from analysis.tables import latency as latency_tables
from analysis.tables import loads as loads_tables
from analysis.tables import matrices as matrices_tables
from analysis.tables import modules as modules_tables
from analysis.tables import pictured
from analysis.tables import profiles as profile_tables
from analysis.tables import search as search_tables
from analysis.tables import sparsity as sparsity_tables
from analysis.tables import summary as summary_tables
from analysis.tables import training as training_tables
from analysis.tables import zeros as zeros_tables
from analysis.tables.cold_starts import cold_starts
from analysis.tables.columns import read, text, write_as_json, write_frame
from analysis.tables.pictured import MODELS
from study.data import arrays
from study.data.datasets import DATASETS
from study.errors import StudyError
from study.files import read_plain, write_text


def write(
    study: Study, folder: Path, measures: Sequence[Measure], data: Path | None = None, try_page: str = ""
) -> Iterator[Path]:
    """Write the report, with these measures of sparsity, into `folder`, yielding each file once it is there.

    `data` is the folder of the data sets, whose images are shown if they are there; `try_page` is the page on which the
    models run, if there is one.
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
    parts = [text(columns, frames["summary"]) for columns in summary_tables.PARTS]
    filled = [part for part in parts if part.shape[1] > 1]
    write_text(folder / "summary.tex", latex(filled, render("summary.tex.j2", "txt", **facts)))
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
        ((TRY,), try_page),
    ):
        for name in () if there else names:
            (folder / name).unlink(missing_ok=True)  # of what has become stale, or is gone
    if study.has_variants:
        yield from exports_page.write(frames["variants"], folder)
    if study.portability:
        yield from portability_page.write(study.portability, folder)
        pictures["portability"] = portability_page.svg(study.portability.of(study.models))

    if try_page:
        write_text(folder / TRY, try_page)
        yield folder / TRY
    write_text(folder / "index.html", with_assets(page(study, frames, pictures, missing_images, bool(try_page))))
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
