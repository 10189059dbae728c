"""The report: CSV tables, the summary for readers, pictures and one self-contained page."""

import base64
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from analysis import plots, presentation, tables
from analysis.files import PICTURES, TABLES
from analysis.measures import UNIFORM
from analysis.records import Study
from study.artifacts import write_bytes, write_text


def write(study: Study, folder: Path) -> Iterator[Path]:
    """Write the report into `folder`, yielding each file once it is there."""
    frames = {
        "runs": tables.runs(study),
        "sparsity": tables.sparsity(study),
        "latency": tables.latency(study),
        "convergence": tables.convergence(study),
    }
    frames["summary"] = tables.summary(study, frames["runs"], frames["latency"])
    for name in TABLES:
        path = folder / f"{name}.csv"
        write_text(path, frames[name].to_csv(index=False, lineterminator="\n"))
        yield path

    table = presentation.summary(frames["summary"])
    facts = presentation.facts(study, frames["summary"], frames["latency"])
    for suffix, text in ((".md", presentation.markdown), (".tex", presentation.latex)):
        write_text(folder / f"summary{suffix}", text(table, [*facts, *(f"Note: {note}." for note in study.notes)]))
        yield folder / f"summary{suffix}"

    pictures = {}
    draw: dict[str, Callable[[pd.DataFrame], Figure]] = {
        "sparsity": lambda frame: plots.sparsity(frame, list(study.models)),
        "convergence": plots.convergence,
        "latency": plots.latency,
    }
    for name in PICTURES:
        with plots.style():
            content = plots.rendered(draw[name](read_table(folder / f"{name}.csv")))
        pictures[name] = content[".svg"]
        for suffix, data in content.items():
            write_bytes(folder / f"{name}{suffix}", data)
            yield folder / f"{name}{suffix}"

    write_text(folder / "index.html", page(study, frames, facts, pictures))
    yield folder / "index.html"


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file of the report as it was written: only an empty field is missing (not, say, a model called NA)."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def page(study: Study, frames: dict[str, pd.DataFrame], facts: list[str], pictures: dict[str, bytes]) -> str:
    """The report as one HTML page without scripts or anything outside of it; `pictures` are SVG files by name."""
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    )
    with_layers = set(frames["sparsity"]["model"])
    environments = {
        "Trained": presentation.describe(run.record["environment"] for run in study.runs),
        "Exported": presentation.describe(run.export["environment"] for run in study.runs),
        "Measured": presentation.describe([study.bench_environment] if study.bench_environment else []),
    }
    values: dict[str, Any] = {
        "models": study.models,
        "notes": study.notes,
        "facts": facts,
        "verdicts": list(verdicts(study.baseline, frames["summary"])),
        "without_layers": [model for model in study.models if model not in with_layers],
        "initialised": {presentation.MEASURES[name]: value for name, value in UNIFORM.items()},
        "settings": presentation.common_settings(frames["latency"]),
        "environments": {stage: phrases for stage, phrases in environments.items() if phrases},
        "test_images": study.runs[0].wrong.size,
        "pictures": {name: base64.b64encode(svg).decode() for name, svg in pictures.items()},
        **{name: getattr(presentation, name)(frames[name]) for name in ("summary", "runs", "sparsity", "latency")},
    }
    return template.render(values) + "\n"


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
