# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: kernelspec
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The study: accuracy, speed and sparsity
#
# This notebook reads what `tox -e train,bench,analysis` has written: the tables of the report, and the weights of the
# exported ONNX files. It trains and measures nothing. `ARTIFACTS` names another folder than `artifacts`.
#
# It is made from `source.py` beside it: `jupytext --to notebook --output notebooks/study.ipynb notebooks/source.py`.

# %%
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

PROJECT = Path.cwd() if Path("analysis").is_dir() else Path.cwd().parent
sys.path.insert(0, str(PROJECT))

from analysis.weights.layers import read  # noqa: E402  found by the line above
from study.artifacts import Artifacts  # noqa: E402

ARTIFACTS = Path(os.environ.get("ARTIFACTS", PROJECT / "artifacts"))
REPORT = ARTIFACTS / "report"

# %% [markdown]
# ## Accuracy and speed
#
# Means over the runs of each model. The ratio is that of the times of one call with one image, eager PyTorch over ONNX
# Runtime, with its 95 % confidence interval; it is empty where it was not measured or is withheld.

# %%
summary = pd.read_csv(REPORT / "summary.csv", index_col="model")
columns = {
    "runs": "runs",
    "parameters": "parameters",
    "test_error_mean": "test error",
    "speedup_batch1": "speed-up",
    "speedup_batch1_low": "from",
    "speedup_batch1_high": "to",
    "fc_exact_zeros_mean": "FC weights equal to zero",
}
summary[list(columns)].rename(columns=columns).style.format(
    {
        "parameters": "{:,}",
        "test error": "{:.2%}",
        "speed-up": "{:.2f}",
        "from": "{:.2f}",
        "to": "{:.2f}",
        "FC weights equal to zero": "{:.1%}",
    },
    na_rep="-",
)

# %% [markdown]
# ## Sparsity, from the ONNX files
#
# The share of weights that are exactly zero in each fully-connected layer, from the file of each model's first run.

# %%
rows = []
for model in summary.index:
    runs = Artifacts(ARTIFACTS).runs(model)
    for layer in read(runs[0].onnx).layers if runs else ():
        weight = layer.weight.load()
        rows.append({"model": model, "layer": layer.name, "weights": weight.size, "exact zeros": (weight == 0).mean()})
layers = pd.DataFrame(rows, columns=["model", "layer", "weights", "exact zeros"])
layers

# %%
bars = layers.pivot(index="model", columns="layer", values="exact zeros").reindex(
    summary.index.intersection(list(layers["model"]))
)
axes = bars.plot.bar(ylim=(0, 1), rot=30, figsize=(8, 3.5), edgecolor="black", colormap="cividis")
axes.set(xlabel="", ylabel="share of weights equal to zero")
axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
plt.tight_layout()
plt.show()

# %% [markdown]
# The report has the same table: this is the largest difference.

# %%
reported = pd.read_csv(REPORT / "sparsity.csv").query("measure == 'exact_zeros'")
first = reported[reported["seed"] == reported.groupby("model")["seed"].transform("min")]
both = layers.merge(first, on=["model", "layer"], how="outer")
difference = (both["exact zeros"] - both["value"]).abs().max(skipna=False)
assert difference < 1e-12, both
difference
