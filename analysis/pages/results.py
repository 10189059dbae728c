"""The results page: what the catalogue's runs come to, as Markdown."""

from collections.abc import Mapping

import pandas as pd

from analysis.inputs.entries import Results, measure
from analysis.pages.markup import render
from analysis.pages.provenance import made_with
from analysis.pages.search import search_results
from analysis.pages.summary import headline
from analysis.tables import latency as latency_tables
from analysis.tables import layers
from analysis.tables import results as results_tables
from analysis.tables import summary as summary_tables
from analysis.tables.columns import text
from study.catalogue import DEFAULT_SEEDS, DEFAULT_STUDY


def page(results: Results, frames: Mapping[str, pd.DataFrame], folder: str) -> str:
    """The page of `results` from its tables `results`, `batches` and `sparsity`; pictures lie in `folder` beside it."""
    by_entry, batches = frames["results"], frames["batches"]
    medians, pairs, bests = headline(
        results.models, latency_tables.latency(results.measured), latency_tables.comparisons(results.measured)
    )
    bare = by_entry[["torch_batch1_us", "onnxruntime_batch1_us"]].isna().all(axis=1) & by_entry["onnx_bytes"].notna()
    unmeasured = by_entry.loc[bare, "model"].tolist()
    networks = {result.entry.name: result.entry.network for result in results.entries}
    stages = {
        "Trained": [run.record.environment for run in results.runs],
        "Exported": [run.export.environment for run in results.runs if run.export],
        "Measured": results.measured.environments,
    }
    return render(
        "results.md.j2",
        "md",
        results=results,
        folder=folder,
        default_study=DEFAULT_STUDY,
        item="image",
        studies=results.studies(),
        accuracies={
            study: text(results_tables.ACCURACIES, rows) for study, rows in by_entry.groupby("study", sort=False)
        },
        sizes=results_tables.sizes(by_entry, networks),
        unmeasured=unmeasured,
        measure=measure(unmeasured, results.root) if unmeasured else "",
        medians=medians,
        pairs=pairs,
        bests=bests,
        doubtful=summary_tables.doubtful(by_entry),
        batches=text(results_tables.BATCHES, batches),
        batch_rows=list(batches.itertuples(index=False)),
        searches=search_results(results.searches, results.runs),
        sparsity=layers.by_entry(frames["sparsity"]),
        parameters={result.entry.network: result.runs[0].record.parameters for result in results.entries},
        short=by_entry["budget"].notna().any(),
        few=len(DEFAULT_SEEDS) if (by_entry["runs"] < len(DEFAULT_SEEDS)).any() else None,
        made_with=list(made_with(stages, results.machines)),
    )
