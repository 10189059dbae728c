"""The pictures of `python -m analysis sparsity FILE --pictures DIR`, each drawn from the CSV file of its name.

The same numbers are beside it as JSON.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from analysis import histogram_plots, plots, tables, weight_plots
from analysis.baselines import references
from analysis.measures import Measure
from analysis.sparsity import DescribedFile
from analysis.sparsity_output import COLUMNS, rows
from study.artifacts import write_bytes, write_csv


def draw(files: Sequence[DescribedFile], measures: Sequence[Measure], folder: Path) -> Iterator[Path]:
    """Draw bars and histograms into `folder`, yielding each file once it is there."""
    names = {str(measure) for measure in measures}
    bars = (row for row in rows(files, measures) if row["measure"] in names)
    layers = [({"model": file.model, "seed": None}, found.layer) for file in files for found in file.layers]
    models = [file.model for file in files]
    for name, columns, content, picture in (
        ("sparsity", COLUMNS, bars, partial(weight_plots.sparsity, models=models, references=references(measures))),
        ("weights_histogram", tables.HISTOGRAM, tables.histogram_rows(layers), histogram_plots.histograms),
    ):
        table = folder / f"{name}.csv"
        write_csv(table, columns, content)
        yield table
        frame = tables.read(table)
        tables.write_as_json(table.with_suffix(".json"), frame)
        yield table.with_suffix(".json")
        with plots.style():
            drawn = plots.rendered(picture(frame))
        for suffix, data in drawn.items():
            write_bytes(folder / f"{name}{suffix}", data)
            yield folder / f"{name}{suffix}"
