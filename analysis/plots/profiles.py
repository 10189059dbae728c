"""The picture of profiles: what each module takes in each engine, side by side."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.plots.latency import by_series, series_of, short
from analysis.tables.numbers import runtime
from analysis.tables.profiles import OUTSIDE, headline
from study.pictures import bar, empty, legend_above, name_rows, panels, tail

MOST_MODULES, MOST_MODELS = 12, 6
"""Rows of a panel, beside that of the time outside and one for all others, and panels."""
ROW, BAR = 0.1, 0.13
"""Inches of a row, and more for each of its bars."""
OTHERS = "(others)"
LONGEST = 34
"""Characters of a module's path; a longer one loses its beginning."""


def profile_modules(frame: pd.DataFrame) -> Figure:
    """Microseconds of a call by module: a panel a model, a row a module, a bar a runtime."""
    rows = headline(frame)
    if rows.empty:
        return empty("nothing was profiled")
    models = list(dict.fromkeys(rows["model"]))[:MOST_MODELS]
    several = [_few(rows[rows["model"] == model]) for model in models]
    series = series_of(rows)
    names = [list(dict.fromkeys(own["module"])) for own in several]
    figure, axes = panels(len(models), [0.5 + len(one) * (ROW + BAR * len(series)) for one in names])
    step = 0.8 / len(series)
    for axis, model, own, modules in zip(axes, models, several, names, strict=True):
        texts = []
        for k, (i, bars) in enumerate(by_series(own, series)):
            for module, seconds in zip(bars["module"], bars["seconds"], strict=True):
                y = modules.index(module) + (k - (len(series) - 1) / 2) * step
                axis.barh(y, 1e6 * seconds, step * 0.9, **bar(i))
                texts.append((y, f"{1e6 * seconds:,.1f}" if seconds < 1e-4 else f"{1e6 * seconds:,.0f}"))
        name_rows(axis, [tail(module, LONGEST) for module in modules], texts)
        axis.set_xlim(left=0)
        axis.set_title(f"{short(model)}, batch {own['batch'].iloc[0]}", loc="left")
        axis.xaxis.set_major_formatter("{x:,g}")
    axes[-1].set_xlabel("microseconds of a call, without the cost of the profiler")
    legend_above(figure, [Patch(label=runtime(*one), **bar(i)) for i, one in series.items()])
    return figure


def _few(rows: pd.DataFrame) -> pd.DataFrame:
    """The modules that take longest in any engine, in their order, the others together, and the time outside."""
    inside, outside = rows[rows["module"] != OUTSIDE], rows[rows["module"] == OUTSIDE]
    longest = inside.groupby("module")["seconds"].max().nlargest(MOST_MODULES).index
    shown, others = inside[inside["module"].isin(longest)], inside[~inside["module"].isin(longest)]
    sums = others.groupby(["runtime", "device", "batch"], as_index=False, sort=False)["seconds"].sum()
    few: pd.DataFrame = pd.concat([shown, sums.assign(module=OTHERS), outside], ignore_index=True)
    return few
