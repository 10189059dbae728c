"""The pages made from fixed, made-up artifacts; tests/golden/ holds each of them whole.

    python -m tests.support.golden      regenerate tests/golden/, then read the difference, line by line

A test compares them, so that every sentence is guarded once, and a change of one is seen as what it is.
"""

import contextlib
import io
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from msgspec import structs
from onnx import helper, numpy_helper

from analysis import sparsity
from analysis.inputs.entries import read_results
from analysis.inputs.files import PICTURES, SEARCHED, find
from analysis.inputs.study import read_study
from analysis.measures.sparsity import ALWAYS
from analysis.pages import exports, index, report, summary
from analysis.pages import portability as portability_page
from analysis.pages import results as results_page
from analysis.pages.markup import render
from analysis.tables import columns, zeros
from analysis.tables import results as results_tables
from analysis.tables.summary import SUMMARY
from bench.output import terminal
from export.card import write_card
from study.artifacts import Artifacts
from study.recipe import Recipe
from study.record_files import write_record
from study.records.bench import BenchRecord
from tests.support.entries import write_entries
from tests.support.exports import DYNAMIC, OLDER, STATIC, of_variant, write_compact, write_variant
from tests.support.modules import write_modules
from tests.support.portability import cell, write_portability
from tests.support.records import (
    BENCH_ENVIRONMENT,
    best_of,
    case,
    cold_start,
    comparison,
    interval,
    matrix_product,
    offline_load,
    search_record,
    server_load,
)
from tests.support.study import layers, save_graph, write_bench, write_model, write_run, write_study

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = (
    "summary.md",
    "index.html",
    "modules.html",
    "exports.md",
    "portability.md",
    "results.md",
    "sparsity.txt",
    "model.md",
    "bench.txt",
)


def pages(folder: Path) -> dict[str, str]:
    """Every page by its name; `folder`, which the artifacts lie in, is not in them."""
    with patch.object(zeros, "zstd_bytes", lambda path: path.stat().st_size // 2):  # may not be installed
        made = _made(folder)
    return {name: made[name].replace(f"{folder}/", "") for name in NAMES}


def _made(folder: Path) -> dict[str, str]:
    return {
        **report_pages(Artifacts(folder / "study")),
        "modules.html": modules_page(Artifacts(folder / "modules")),
        "results.md": results(Artifacts(folder / "entries")),
        "sparsity.txt": sparsity_table(folder),
        "model.md": model_card(Artifacts(folder / "card")),
        "bench.txt": bench_tables(),
    }


def report_pages(artifacts: Artifacts) -> dict[str, str]:
    """The pages of a report on a study with a search, variants and other runtimes; pictures are left empty."""
    write_study(artifacts)
    write_run(artifacts, "gap", 1, {}, test_error=0.081, parameters=12_502, validation=[0.1, 0.08, 0.09])
    static = write_variant(artifacts, STATIC, 100, 0.101)
    write_variant(artifacts, DYNAMIC, 3, None)
    older = write_variant(artifacts, OLDER, 0, 0.08)
    write_compact(artifacts, "l1-1e-3")
    sizes = {("torch", 1): 110e-6, ("onnxruntime", 1): 20e-6, ("onnxruntime", 8): 250e-6, ("onnxruntime", 32): 600e-6}
    bench = [case(artifacts, "baseline", *subject, seconds) for subject, seconds in sizes.items()]
    bench += [of_variant(artifacts, static, 30e-6), of_variant(artifacts, older, 20e-6)]
    bench += [case(artifacts, "baseline", "torch-compile", 1, 80e-6)]
    chosen = best_of({"torch-compile": 81e-6, "torch": 109e-6}, {"onnxruntime": 21e-6})
    pairs = [
        comparison(artifacts, "baseline", 1, 1.35, 1.33, 1.37, runtime="torch-compile"),
        comparison(artifacts, "baseline", 1, 4.0, 3.9, 4.1, reference="torch-compile", best_of=chosen),
    ]
    slow = write_bench(artifacts, bench, pairs, name="bench-variants.json", matrix_products=[matrix_product()])
    offline = [offline_load(artifacts, "baseline", 90_000, streams) for streams in (1, 2)]
    server = server_load(artifacts, "baseline", 25_000, 0.0098, valid=False, reasons=("noisy",))
    loaded = write_bench(artifacts, name="bench-loads.json", loads=[*offline, server])
    failed = {"verdict": "failed", "max_abs_difference": 0.031, "argmax_mismatches": 12, "reason": "0.031 off."}
    of_static = {"onnx_sha256": static, "variant": STATIC.name, "allowed": 0.05}
    write_portability(artifacts, cell(artifacts, "tract", "baseline", 7, **failed, **of_static))
    write_record(artifacts.search("gap"), search_record("gap"))
    study = read_study(find(artifacts, ("baseline", "l1-1e-3", "gap", "l2-1e-4"), (artifacts.bench, slow, loaded)))
    frames = report.all_tables(study, ALWAYS)
    assert study.portability is not None
    table = columns.text(SUMMARY, frames["summary"])
    pictures = dict.fromkeys((*PICTURES, *SEARCHED, "portability"), b"")
    return {
        "summary.md": render("summary.md.j2", "md", summary=table, **summary.values(study, frames)),
        "index.html": index.page(study, frames, pictures),
        "exports.md": exports.page(frames["variants"]),
        "portability.md": portability_page.page(study.portability, "portability.png"),
    }


def modules_page(artifacts: Artifacts) -> str:
    """The page of a report on two modules, one of them with random weights; pictures are left empty."""
    bench = write_modules(artifacts)
    study = read_study(find(artifacts, ("plain", "pruned"), (bench,)))
    return index.page(study, report.all_tables(study, ALWAYS), dict.fromkeys(report.chosen(study)[1], b""))


def results(artifacts: Artifacts) -> str:
    """The results page of entries with one that was searched, a run left out, one not exported, and measurements."""
    write_entries(artifacts)
    search = search_record("tuned")
    assert search.best is not None
    write_record(artifacts.search("tuned"), search)
    write_run(artifacts, "tuned", 0, layers(0), test_error=0.085, recipe=search.best.recipe, epochs=12)
    write_run(artifacts, "lenet5-plain", 1, layers(1), epochs=60, recipe=search.best.recipe)
    artifacts.run("mini-vgg", 0).export.unlink()
    cases = [
        case(artifacts, "cnn5", "torch", 1, 200e-6),
        case(artifacts, "cnn5", "onnxruntime", 1, 40e-6),
        case(artifacts, "baseline", "onnxruntime", 1, 20e-6, valid=False, reasons=("hot",)),
    ]
    pairs = [comparison(artifacts, "cnn5", 1, 5.0, 4.9, 5.1)]
    found = read_results(artifacts, [write_bench(artifacts, cases, pairs, name="bench-results-1.json")])
    return results_page.page(found, results_tables.all_tables(found), "results")


def sparsity_table(folder: Path) -> str:
    """What the command prints of layers that are like noise, zero, tied, not finite, and of a model without any."""
    random = np.random.default_rng(0)
    weights = {f"fc{i}": random.uniform(-1, 1, (30, 30)).astype(np.float32) for i in range(1, 9)}
    weights["fc2"][0, 0] = np.nan
    write_model(folder / "model.onnx", weights | {"zero": np.zeros((3, 30), np.float32)})
    nodes = [
        helper.make_node("Gemm", ["image", "w"], ["x"], name="/first/Gemm", transB=1),
        helper.make_node("Gemm", ["x", "w"], ["y"], name="/second/Gemm", transB=1),
    ]
    save_graph(folder / "tied.onnx", nodes, [numpy_helper.from_array(np.eye(20, dtype=np.float32), "w")])
    write_model(folder / "gap.onnx", {})
    files = [str(folder / name) for name in ("model.onnx", "tied.onnx", "gap.onnx")]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert sparsity.main([*files, "--facts", "--measure", "l0"]) == 0
    return output.getvalue()


def bench_tables() -> str:
    """What `pytest bench` prints at the end, in 100 and in 80 columns, and its comparisons with best against best."""
    nowhere, name = Artifacts(Path("no artifacts")), "a-recogniser-of-faces-with-a-long-name"
    slow = ("too few samples: 38 do not give p99; give --seconds 133", "drifted")
    unsound = {"valid": False, "reasons": slow}
    cases = [
        case(nowhere, "baseline", "torch", 1, 187.3e-6, p90_seconds=interval(190e-6), p99_seconds=interval(213.25e-6)),
        case(nowhere, "baseline", "onnxruntime", 1, 27.31e-6, p99_seconds=interval(31.6e-6)),
        case(nowhere, "baseline", "torch", 8, 521e-6),
        case(nowhere, "baseline", "torch", 32, 1422e-6),
        case(nowhere, "baseline", "onnxruntime", 8, 132.8e-6),
        case(nowhere, "baseline", "onnxruntime", 32, 731e-6),
        case(nowhere, name, "onnxruntime", 1, 1.4999, p95_seconds=None, p99_seconds=None, **unsound, macs=None),
        case(nowhere, name, "my_package.engines:Fast", 1, 99.996e-3, valid=False, reasons=("drifted",)),
        case(nowhere, name, "my_package.engines:Fast", 8, 299.996e-3),
    ]
    noisy = {"valid": False, "reasons": ("noisy",), "verdict": "withheld"}
    pairs = [
        comparison(nowhere, "baseline", 1, 6.858, 6.83, 6.88),
        comparison(nowhere, "baseline", 32, 1.0004, 0.99, 1.01, **noisy),
    ]
    record = BenchRecord(
        environment=BENCH_ENVIRONMENT,
        harness_overhead_seconds=None,
        processes=5,
        pilot=None,
        comparisons=tuple(pairs),
        cold_starts=(cold_start(nowhere, "baseline", "torch"), cold_start(nowhere, "baseline", "onnxruntime")),
        cases=tuple(cases),
        matrix_products=(matrix_product(),),
        left_out={f"{name} my_package.engines:Fast batch 1": "one round takes 33 s; give --seconds 3"},
    )
    chosen = best_of({"torch-compile": 130e-6, "torch": 187e-6}, {"onnxruntime": 27e-6, "onnxruntime-spinning": 28e-6})
    best = [
        *(pairs[0], comparison(nowhere, "baseline", 1, 1.44, 1.43, 1.45, runtime="torch-compile")),
        comparison(nowhere, "baseline", 1, 6.80, 6.79, 6.82, runtime="onnxruntime-spinning"),
        comparison(nowhere, "baseline", 1, 4.76, 4.73, 4.79, reference="torch-compile", best_of=chosen),
    ]
    compared = structs.replace(record, comparisons=tuple(best), cases=(), cold_starts=(), left_out={})
    shown = [(record, 100), (record, 80), (compared, 100), (compared, 80)]
    return "\n\n\n".join("\n".join(terminal.tables(one, width)) for one, width in shown) + "\n"


def model_card(artifacts: Artifacts) -> str:
    """The card of a standard export, whose run kept the best of three epochs on validation images."""
    recipe = structs.asdict(Recipe(learning_rate=0.05, validation=6000, patience=1, dropout=0.25, bfloat16=True))
    write_run(artifacts, "baseline", 0, layers(0), validation=[0.2, 0.1, 0.15], recipe=recipe)
    files = artifacts.run("baseline", 0)
    write_card(files)
    return files.card.read_text(encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for name, text in pages(Path(temporary)).items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
            print(f"wrote {GOLDEN / name}")
