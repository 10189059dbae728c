"""The results page: what the catalogue's runs come to, as Markdown."""

from collections.abc import Mapping

import pandas as pd

from analysis.inputs.entries import Field, measure
from analysis.pages.markup import render
from analysis.pages.provenance import made_with
from analysis.pages.search import search_results
from analysis.pages.summary import headline
from analysis.tables import latency as latency_tables
from analysis.tables import results as results_tables
from analysis.tables.columns import text
from study.catalogue import DEFAULT_SEEDS, DEFAULT_STUDY


def page(field: Field, frames: Mapping[str, pd.DataFrame], folder: str) -> str:
    """The page of `field` from its tables `results`, `batches` and `sparsity`; pictures lie in `folder` beside it."""
    results, batches = frames["results"], frames["batches"]
    runs = [run for standing in field.standings for run in standing.runs]
    medians, pairs = headline(field, latency_tables.latency(field), latency_tables.comparisons(field))
    bare = results[["torch_batch1_us", "onnxruntime_batch1_us"]].isna().all(axis=1) & results["onnx_bytes"].notna()
    unmeasured = results.loc[bare, "model"].tolist()
    networks = {standing.entry.name: standing.entry.network for standing in field.standings}
    stages = {
        "Trained": [run.record["environment"] for run in runs],
        "Exported": [export.record["environment"] for standing in field.standings for export in standing.exports],
        "Measured": list(field.measured.environments),
    }
    return render(
        "results.md.j2",
        "md",
        field=field,
        folder=folder,
        default_study=DEFAULT_STUDY,
        studies=field.studies(),
        accuracies={
            study: text(results_tables.ACCURACIES, rows) for study, rows in results.groupby("study", sort=False)
        },
        sizes=results_tables.sizes(results, networks),
        unmeasured=unmeasured,
        measure=measure(unmeasured, field.root) if unmeasured else "",
        medians=medians,
        pairs=pairs,
        doubtful=results["latency_valid"].eq(False).any(),
        batches=text(results_tables.BATCHES, batches),
        batch_rows=list(batches.itertuples(index=False)),
        searches=search_results(field.searches, runs),
        sparsity=results_tables.by_entry(frames["sparsity"]),
        parameters={standing.entry.network: standing.runs[0].record["parameters"] for standing in field.standings},
        short=results["budget"].notna().any(),
        few=len(DEFAULT_SEEDS) if (results["runs"] < len(DEFAULT_SEEDS)).any() else None,
        made_with=list(made_with(stages, field.machines)),
    )
