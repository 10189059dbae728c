"""What `pytest bench` measured, read from one or several files and held against the ONNX files it is about.

A measurement of a model of the catalogue counts only if it is of an ONNX file that is there. One without a seed is of
a file of the user's own and stands for itself. The same case in several files is a repeat.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.artifacts import read_bench
from study.environment import describe
from study.reasons import told_once

Record = dict[str, Any]

MEASURE = "run `pytest bench --benchmark-json={}` to measure"
KINDS = {"cases": "benchmark case", "comparisons": "comparison", "cold_starts": "cold start"}
SAME = ("model", "seed", "onnx_sha256", "runtime", "batch", "threads", "mode", "device")
"""Keys of a case or comparison in which its repeats agree."""


@dataclass(frozen=True)
class Measurements:
    """The records of all files, as docs/formats.md has them under bench.json.

    Each has two keys more: `file`, the name of its file, and `measured_on`, the machine in a few words.
    """

    cases: tuple[Record, ...] = ()
    comparisons: tuple[Record, ...] = ()
    cold_starts: tuple[Record, ...] = ()
    environments: tuple[Record, ...] = ()
    """Of each file."""
    variants: tuple[Record, ...] = ()
    """The cases of the ONNX files that are another form of a model than its standard one; they are nowhere else."""
    notes: tuple[str, ...] = ()
    """What a reader must know before believing the tables, a sentence each."""


def read_measurements(
    paths: Sequence[Path],
    onnx_files: Mapping[str, set[str]],
    all_alike: bool = True,
    remedy: str = "",
    variants: Collection[str] = (),
) -> Measurements:
    """The measurements in these files, of which one alone may be missing.

    Only those of the models that `onnx_files` gives the SHA-256 sums for are kept, and those of the user's own files.
    `variants` are the sums of other forms of these models, which are kept apart.
    With `all_alike` a note tells where a model has not been measured as others have. `remedy` is what to run for a
    measurement that is not there, if not what wrote the first file.

    Raises:
        StudyError: a file is damaged.
    """
    remedy = remedy or MEASURE.format(paths[0])
    if not any(path.is_file() for path in paths):
        return Measurements(notes=(f"{paths[0]} is missing, so nothing is said about latency; {remedy}",))
    benches = [read_bench(path, MEASURE.format(path)) for path in paths]
    names = _distinct_names(paths)
    kept: dict[str, list[Record]] = {}
    notes: list[str] = []
    for kind, what in KINDS.items():
        asked = [
            {**record, "file": name, "measured_on": machine(bench["environment"])}
            for name, bench in zip(names, benches, strict=True)
            for record in bench[kind]
            if record["seed"] is None or record["model"] in onnx_files or record["onnx_sha256"] in variants
        ]
        if kind == "cases":
            of_variants = tuple(record for record in asked if record["onnx_sha256"] in variants)
        asked = [record for record in asked if record["onnx_sha256"] not in variants]
        kept[kind] = [r for r in asked if r["seed"] is None or r["onnx_sha256"] in onnx_files[r["model"]]]
        if stale := len(asked) - len(kept[kind]):
            notes.append(
                f"{stale} of {len(asked)} {what}s in {', '.join(map(str, paths))} are of ONNX files that are no longer "
                f"there and are left out; {remedy} again"
            )
        if quick := sum(record["quick"] for record in kept[kind]):
            notes.append(f"{quick} of {len(kept[kind])} {what}s were measured with --quick: a trial, not a result")
    _tell_own_files_apart([record for records in kept.values() for record in records], onnx_files)
    notes += _doubts(kept["cases"], "benchmark cases", "latency.csv")
    notes += _doubts(kept["comparisons"], "comparisons", "comparisons.csv")
    notes += _doubts(kept["cold_starts"], "cold starts", "cold_starts.csv")
    if all_alike:
        notes += _gaps(kept["cases"], onnx_files, "benchmark case", remedy)
        with_cases = {case["model"] for case in kept["cases"]}
        if any(comparison["seed"] is not None for comparison in kept["comparisons"]):
            compared = [model for model in onnx_files if model in with_cases]
            notes += _gaps(kept["comparisons"], compared, "comparison", remedy)
    environments = tuple(bench["environment"] for bench in benches)
    notes += _unlike(environments)
    notes += _repeats(kept["cases"], "median_seconds", "benchmark cases", "medians")
    notes += _repeats(kept["comparisons"], "ratio", "comparisons", "ratios")
    records = {kind: tuple(found) for kind, found in kept.items()}
    return Measurements(**records, environments=environments, variants=of_variants, notes=tuple(notes))


def machine(environment: Record) -> str:
    """The machine of an environment, in as few words as tell it from others: "AMD EPYC, 2 cores, 24 GiB"."""
    return describe(environment).machine


def _unlike(environments: Sequence[Record]) -> Iterator[str]:
    """Why measurements of different files may not be compared."""
    machines = list(dict.fromkeys(map(machine, environments)))
    if len(machines) > 1:
        yield f"measured on different machines ({'; '.join(machines)}): do not compare"
    for package in dict.fromkeys(name for environment in environments for name in environment["packages"]):
        versions = {environment["packages"].get(package, "none") for environment in environments}
        if len(versions) > 1:
            yield f"measured with different versions of {package} ({', '.join(sorted(versions))})"


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """The names of the files, or their paths where two are called alike."""
    counts = Counter(path.name for path in paths)
    return [path.name if counts[path.name] == 1 else str(path) for path in paths]


def _tell_own_files_apart(records: Iterable[Record], onnx_files: Mapping[str, set[str]]) -> None:
    """Call a file of the user's own by its SHA-256 too where its name is a model's or that of another such file."""
    own = [record for record in records if record["seed"] is None]
    called = defaultdict(set)
    for record in own:
        called[record["model"]].add(record["onnx_sha256"])
    for record in own:
        if len(called[record["model"]]) > 1 or record["model"] in onnx_files:
            record["model"] += f" [{record['onnx_sha256'][:8]}]"


def _doubts(records: Sequence[Record], what: str, table: str) -> Iterator[str]:
    """Why records are not valid, a sentence for all reasons that differ in numbers alone; --quick is told apart."""
    doubts = [
        (record["model"], reason)
        for record in records
        if not record["valid"] and not record["quick"]
        for reason in record["reasons"] or ["no reason given"]
    ]
    for reason, names in told_once(doubts):
        yield f"{len(names)} of {len(records)} {what} are not valid: {reason} ({table} says which)"


def _gaps(records: Sequence[Record], models: Iterable[str], what: str, remedy: str) -> Iterator[str]:
    """Those of `models` that lack a record which other models of the catalogue have, or that have none."""
    measured = {(r["model"], r["runtime"], r["batch"]) for r in records if r["seed"] is not None}
    wanted = sorted({(batch, runtime) for _, runtime, batch in measured})
    for model in models:
        missing = [f"{runtime} batch {batch}" for batch, runtime in wanted if (model, runtime, batch) not in measured]
        if len(missing) == len(wanted):
            yield f"{model} has no {what}; {remedy} all"
        elif missing:
            yield f"{model} has no {what} of {', '.join(missing)}; {remedy} all"


def _repeats(records: Iterable[Record], key: str, what: str, values: str) -> Iterator[str]:
    """How far the values under `key` lie apart where the same was measured several times."""
    alike = defaultdict(list)
    for record in records:
        alike[tuple(record[name] for name in SAME)].append(record[key])
    apart = {same: max(found) / min(found) - 1 for same, found in alike.items() if len(found) > 1}
    if apart:
        widest = max(apart, key=lambda same: apart[same])
        where = dict(zip(SAME, widest, strict=True))
        yield (
            f"{len(apart)} {what} were measured in several files, whose {values} lie up to {apart[widest] * 100:.1f} % "
            f"apart ({where['model']}, {where['runtime']}, batch {where['batch']}); pictures and summary show the "
            f"median of the {values}, in an interval around all of theirs"
        )
