"""Measurements of `pytest bench`, read from one or several files and matched with the ONNX files that they are of.

A measurement of a model of the catalogue or of a module counts only if its ONNX file is there. Another one without a
seed is of a user's own file. The same case in several files is a repeat; one with --quick counts only for a model that
has no other.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from analysis.inputs import kept
from analysis.inputs.modules import Module
from analysis.inputs.runs import Run
from study.bench_file import read_bench
from study.environment import describe
from study.families import changed_pairs, outrun
from study.files import there
from study.reasons import merged
from study.records.base import Environment
from study.records.bench import (
    BenchEnvironment,
    BenchRecord,
    CaseKey,
    CaseRecord,
    ColdStartRecord,
    ComparisonRecord,
    MatrixProduct,
    Measurement,
)
from study.records.profile import ProfileRecord
from study.records.scenarios import OfflineRecord, ServerRecord
from study.variants import STANDARD_NAME

MEASURE = "run `pytest bench --benchmark-json={}` to measure"
MEASURE_MODULES = (
    "run `pytest bench --benchmark-json={}` with --module and its options, or --catalogue and --models, to measure"
)
M = TypeVar("M", bound=Measurement)


@dataclass(frozen=True, slots=True)
class Measured(Generic[M]):
    """A measurement of a file."""

    record: M
    model: str
    """The name in its key; of a user's own file one that no other file has."""
    file: str
    """Name of the bench.json."""
    machine: str

    @property
    def key(self) -> CaseKey:
        return self.record.key


Loads = Measured[OfflineRecord] | Measured[ServerRecord]


@dataclass(frozen=True)
class Measurements:
    """The measurements of all files, by model in the order of the study, those of a user's own files last."""

    cases: tuple[Measured[CaseRecord], ...] = ()
    """Each a `KeptCase`."""
    comparisons: tuple[Measured[ComparisonRecord], ...] = ()
    cold_starts: tuple[Measured[ColdStartRecord], ...] = ()
    profiles: tuple[Measured[ProfileRecord], ...] = ()
    loads: tuple[Loads, ...] = ()
    """Of the load scenarios, the offline ones first."""
    environments: tuple[BenchEnvironment, ...] = ()
    """One for each file."""
    peaks: Mapping[tuple[str, int], MatrixProduct] = field(default_factory=dict)
    """The machine's fastest product of matrices in a file, by its name and the number of threads."""
    variants: tuple[Measured[CaseRecord], ...] = ()
    """The cases of exports other than the standard one, which are in none of the above."""
    notes: tuple[str, ...] = ()
    """What a reader must know first, a sentence each."""

    @property
    def in_tables(self) -> "Measurements":
        """Without what is in tables, 100,000 cases perhaps, once it is there."""
        return replace(self, cases=(), comparisons=(), cold_starts=(), variants=())

    @property
    def peaks_by_threads(self) -> Sequence[MatrixProduct]:
        """The fastest of all files for each number of threads."""
        ordered = sorted(self.peaks.values(), key=lambda one: (one.threads, one.flops_per_second))
        return tuple({one.threads: one for one in ordered}.values())


def read_measurements(
    paths: Sequence[Path],
    measured: Sequence[Run | Module],
    *,
    all_alike: bool = True,
    remedy: str = "",
    others: Collection[str] = (),
) -> Measurements:
    """Read and merge benchmark files. If only one is named, it may be absent.

    Those of the models of `measured` are kept, and those of a user's own files, which the modules called `others` are
    not. With `all_alike` a note names each case that only some of the models have. `remedy`
    is the command that measures again, if not the one that wrote the first file.

    Raises:
        StudyError: a file is damaged.
    """
    modules = {one.model for one in measured if isinstance(one, Module)}
    remedy = remedy or (MEASURE_MODULES if len(modules) == len(measured) else MEASURE).format(paths[0])
    if not any(there(path) for path in paths):
        return Measurements(notes=(f"{paths[0]} is missing, so the report has no latency; {remedy}",))
    benches = [read_bench(path, MEASURE.format(path), kept.kept) for path in paths]
    machines = [machine(bench.environment) for bench in benches]
    files = list(zip(_distinct_names(paths), machines, benches, strict=True))
    sums: dict[str, set[str]] = {}
    for one in measured:
        sums.setdefault(one.model, set()).update({one.onnx_sha256} if one.onnx_sha256 else ())
    named = modules.union(others)
    keys = [
        record.key
        for bench in benches
        for record in (
            *bench.cases,
            *bench.comparisons,
            *bench.cold_starts,
            *bench.profiles,
            *bench.offline,
            *bench.server,
        )
    ]
    names = _own_names([key for key in keys if key.seed is None and key.model not in named], sums)
    order = {model: i for i, model in enumerate(dict.fromkeys([*sums, *names.values()]))}
    notes: list[str] = []

    def taken(records: Callable[[BenchRecord], Iterable[M]]) -> Iterator[Measured[M]]:
        for file, where, bench in files:
            for record in records(bench):
                own = record.key.seed is None  # then a module, or a user's file
                name = names.get((record.key.model, record.key.onnx_sha256)) if own else None
                yield Measured(record, name or record.key.model, file, where)

    def of_report(what: str, records: Callable[[BenchRecord], Iterable[M]]) -> tuple[Measured[M], ...]:
        standard = [one for one in taken(records) if one.key.variant == STANDARD_NAME]
        asked = [one for one in standard if one.model in order]
        there = [one for one in asked if one.model not in sums or one.key.onnx_sha256 in sums[one.model]]
        if stale := len(asked) - len(there):
            notes.append(
                f"{stale} of {len(asked)} {what}s in {', '.join(map(str, paths))} are of ONNX files that are no longer "
                f"there and are left out; {remedy} again"
            )
        return tuple(sorted(there, key=lambda one: order[one.model]))

    cases = of_report("benchmark case", lambda bench: bench.cases)
    comparisons = of_report("comparison", lambda bench: bench.comparisons)
    cold_starts = of_report("cold start", lambda bench: bench.cold_starts)
    profiles = of_report("profile", lambda bench: bench.profiles)
    offline = of_report("offline load", lambda bench: bench.offline)
    server = of_report("server load", lambda bench: bench.server)
    every: tuple[Measured[Any], ...] = (*cases, *comparisons, *cold_starts, *profiles, *offline, *server)
    results = {one.model for one in every if not one.record.quick}
    trials = Counter(one.model for one in every if one.record.quick)
    if mixed := [model for model in trials if model in results]:
        notes.append(
            f"{sum(trials[model] for model in mixed)} measurements with --quick of {', '.join(mixed)} are left out: "
            "the other files have results, and trials are not pooled with them"
        )

    def unmixed(what: str, several: tuple[Measured[M], ...]) -> tuple[Measured[M], ...]:
        left = tuple(one for one in several if not (one.record.quick and one.model in results))
        if quick := sum(one.record.quick for one in left):
            notes.append(f"{quick} of {len(left)} {what}s were measured with --quick: a trial, not a result")
        return left

    cases, comparisons = unmixed("benchmark case", cases), unmixed("comparison", comparisons)
    cold_starts, profiles = unmixed("cold start", cold_starts), unmixed("profile", profiles)
    offline, server = unmixed("offline load", offline), unmixed("server load", server)
    exported = {record.onnx_sha256 for one in measured if isinstance(one, Run) for record in one.exports[1:]}
    variants = tuple(
        one
        for one in taken(lambda bench: bench.cases)
        if one.key.variant != STANDARD_NAME
        and one.key.onnx_sha256 in exported
        and not (one.record.quick and one.model in results)
    )
    notes += [
        f"{name} {what} ({file}): {reason}"
        for file, _, bench in files
        for what, reasons in (("failed", bench.failed), ("was left out", bench.left_out))
        for name, reason in reasons.items()
    ]
    notes += _doubts(cases, "benchmark cases", "latency.csv")
    notes += _doubts(comparisons, "comparisons", "comparisons.csv")
    notes += _doubts(cold_starts, "cold starts", "cold_starts.csv")
    notes += _doubts(profiles, "profiles", "profile.csv")
    notes += _doubts(offline, "offline loads", "loads.csv")
    notes += _doubts(server, "server loads", "loads.csv")
    if all_alike:
        notes += _gaps(cases, sums, "benchmark case", remedy)
        if any(one.model in sums for one in comparisons):
            with_cases = {one.model for one in cases}
            notes += _gaps(comparisons, [model for model in sums if model in with_cases], "comparison", remedy)
    environments = tuple(bench.environment for bench in benches)
    notes += _unlike(environments)
    medians = (((one.key, ""), one.record.median_seconds.value) for one in cases)
    notes += _repeats(medians, "benchmark cases", "medians")
    ratios = (((one.key, one.record.reference), one.record.ratio.value) for one in comparisons)
    notes += _repeats(ratios, "comparisons", "ratios")
    notes += _other_best(benches, [[one.record for one in comparisons if one.file == file] for file, *_ in files], sums)
    peaks = {(file, one.threads): one for file, _, bench in files for one in bench.matrix_products}
    loads: tuple[Loads, ...] = (*offline, *server)
    return Measurements(cases, comparisons, cold_starts, profiles, loads, environments, peaks, variants, tuple(notes))


def machine(environment: Environment) -> str:
    """The machine of an environment in words."""
    return describe(environment).machine


def _unlike(environments: Sequence[BenchEnvironment]) -> Iterator[str]:
    """Why measurements of different files may not be compared."""
    machines = list(dict.fromkeys(machine(environment) for environment in environments))
    if len(machines) > 1:
        yield f"measured on different machines ({'; '.join(machines)}): do not compare"
    for package in dict.fromkeys(name for environment in environments for name in environment.packages):
        versions = {environment.packages.get(package, "none") for environment in environments}
        if len(versions) > 1:
            yield f"measured with different versions of {package} ({', '.join(sorted(versions))})"


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """The names of the files, or their paths where two have the same name."""
    counts = Counter(path.name for path in paths)
    return [path.name if counts[path.name] == 1 else str(path) for path in paths]


def _own_names(keys: Sequence[CaseKey], models: Collection[str]) -> dict[tuple[str, str], str]:
    """Names of a user's own files by model and SHA-256, which is part of a name that is a model's or another file's."""
    files = list(dict.fromkeys((key.model, key.onnx_sha256) for key in keys))
    counts = Counter(model for model, _ in files)
    return {
        (model, digest): model if counts[model] == 1 and model not in models else f"{model} [{digest[:8]}]"
        for model, digest in files
    }


def _doubts(measured: Sequence[Measured[M]], what: str, table: str) -> Iterator[str]:
    """Why measurements are not valid, once for all reasons that differ in numbers alone; not those with --quick."""
    doubts = [
        (one.model, reason)
        for one in measured
        if not one.record.valid and not one.record.quick
        for reason in one.record.reasons or ["no reason given"]
    ]
    for reason, names in merged(doubts):
        some = f"{len(names)} of {len(measured)} {what} {'is' if len(names) == 1 else 'are'}"
        yield f"{some} not valid: {reason} (see {table})"


def _gaps(measured: Sequence[Measured[M]], models: Iterable[str], what: str, remedy: str) -> Iterator[str]:
    """Those of `models` that have none, or lack one that another model of the catalogue has."""
    models = list(models)
    there = {(one.model, one.key.runtime, one.key.batch) for one in measured if one.model in models}
    wanted = sorted({(batch, runtime) for _, runtime, batch in there})
    for model in models:
        missing = [f"{runtime} batch {batch}" for batch, runtime in wanted if (model, runtime, batch) not in there]
        if len(missing) == len(wanted):
            yield f"{model} has no {what}; {remedy} all"
        elif missing:
            yield f"{model} has no {what} of {', '.join(missing)}; {remedy} all"


def _other_best(
    benches: Sequence[BenchRecord], used: Sequence[Sequence[ComparisonRecord]], models: Collection[str]
) -> Iterator[str]:
    """Where best against best may not be the best, or is not the same pair in all files.

    Args:
        used: of each file the comparisons that the report has, without trials beside results.
    """
    for key, chosen, faster in (one for bench in benches for one in outrun(bench)):
        if key.model in models and key.variant == STANDARD_NAME:
            yield (
                f"{key.model}, batch {key.batch}: for {key.runtime} the pilot chose {chosen}, but {faster} is faster "
                "in the session: measure again"
            )
    for key, pairs in changed_pairs(used).items():
        if key.model in models and key.variant == STANDARD_NAME:
            listed = ", ".join(f"{pair} in {n}" for pair, n in pairs.most_common())
            yield (
                f"{key.model}, batch {key.batch}: {key.runtime} is not the same pair in all files ({listed}); the "
                "summary shows the one of the most files"
            )


def _repeats(values: Iterable[tuple[tuple[CaseKey, str], float]], what: str, name: str) -> Iterator[str]:
    """How far the values of a case, or of it and its reference, lie apart where the same was measured several times."""
    alike = defaultdict(list)
    for key, value in values:
        alike[key].append(value)
    apart = {key: max(repeats) / min(repeats) - 1 for key, repeats in alike.items() if len(repeats) > 1}
    if apart:
        widest, _ = max(apart, key=lambda key: apart[key])
        yield (
            f"{len(apart)} {what} were measured in several files, whose {name} lie up to "
            f"{max(apart.values()) * 100:.1f} % "
            f"apart ({widest.model}, {widest.runtime}, batch {widest.batch}); pictures and summary show their "
            "geometric mean, with Student's interval over the files, or, of two, an interval around both of theirs"
        )
