"""Measurements that nobody made, for a bench.json of any number of cases."""

import io
import json
from collections.abc import Iterator, Sequence
from itertools import count, islice, product

from msgspec import structs

from study.artifacts import Artifacts
from study.bench_file import BENCHMARKS, OPENED
from study.files import sha256
from study.json_pieces import pieces
from study.record_files import as_json
from study.records.bench import BenchRecord, CaseKey, CaseRecord, ComparisonRecord
from study.seal import KEY, SealOfPieces
from tests.support.records import BENCH_ENVIRONMENT, case, case_process, cold_start, comparison, interval

ENGINES = {"torch": 100e-6, "onnxruntime": 20e-6, "torch-compile": 60e-6, "openvino": 25e-6}
"""Seconds of a call with one image."""
BATCHES = (1, 8, 16, 32, 64, 128, 256)


def settings() -> Iterator[tuple[str, int, int]]:
    """Engine, batch size and number of threads of each case of a run; without end."""
    for threads in count(1):
        yield from ((engine, batch, threads) for batch, engine in product(BATCHES, ENGINES))


def keys(artifacts: Artifacts, names: Sequence[str], seeds: int, cases: int) -> Iterator[CaseKey]:
    """As many different cases, spread evenly over the runs."""
    made = case(artifacts, names[0], "torch", 1, 1.0).key
    runs = [(name, seed) for name in names for seed in range(seeds)]
    digests = {run: sha256(artifacts.run(*run).onnx) for run in runs}
    each, more = divmod(cases, len(runs))
    for n, (name, seed) in enumerate(runs):
        for engine, batch, threads in islice(settings(), each + (n < more)):
            yield structs.replace(
                made,
                model=name,
                seed=seed,
                onnx_sha256=digests[name, seed],
                runtime=engine,
                batch=batch,
                threads=threads,
            )


def seconds(key: CaseKey) -> float:
    """Of a call: engines, models and runs differ, each by its own factor."""
    of_model = 1 + 0.02 * (int(key.onnx_sha256[:4], 16) % 50) / 50
    return ENGINES[key.runtime] * (0.3 + 0.7 * key.batch / key.threads) * of_model


def cases_of(made: CaseRecord, all_keys: Iterator[CaseKey], samples: int) -> Iterator[CaseRecord]:
    for key in all_keys:
        value = seconds(key)
        processes = [case_process(n, value * (1 + 0.003 * (n - 3)), samples=samples // 5) for n in range(1, 6)]
        yield structs.replace(
            made,
            key=key,
            samples=samples,
            input_shapes={"image": (key.batch, 1, 28, 28)},
            median_seconds=interval(value, 0.997, 1.003),
            p90_seconds=interval(value * 1.2, 0.99, 1.01),
            images_per_second_at_median=key.batch / value,
            processes=tuple(processes),
        )


def comparisons_of(made: ComparisonRecord, all_keys: Iterator[CaseKey]) -> Iterator[ComparisonRecord]:
    """ONNX Runtime against torch, with one thread."""
    for key in all_keys:
        if key.runtime == "onnxruntime" and key.threads == 1:
            yield structs.replace(made, key=key)


def write_measurements(artifacts: Artifacts, names: Sequence[str], seeds: int, cases: int, samples: int) -> int:
    """Write bench.json, a case at a time: all of it at once would be gigabytes; returns the number of cases."""
    made, pair = case(artifacts, names[0], "torch", 1, 1.0), comparison(artifacts, names[0], 1, 5.0, 4.9, 5.1)
    session = BenchRecord(
        environment=BENCH_ENVIRONMENT,
        harness_overhead_seconds=1e-7,
        processes=5,
        pilot=None,
        comparisons=tuple(comparisons_of(pair, keys(artifacts, names, seeds, cases))),
        cold_starts=tuple(cold_start(artifacts, name, engine) for name in names for engine in ("torch", "onnxruntime")),
        cases=(),
    )
    study = as_json(session)
    del study["cases"]
    written, seal = 0, SealOfPieces()
    with artifacts.bench.open("w") as file:
        file.write('{"benchmarks": [')
        for record in cases_of(made, keys(artifacts, names, seeds, cases), samples):
            name = f"{record.key.model}-{record.key.runtime}-{record.key.batch}"
            stats = {"data": [record.median_seconds.value] * samples, "rounds": samples}
            benchmark = {"name": name, "extra_info": as_json(record), "stats": stats}
            seal.add(BENCHMARKS, benchmark)
            file.write(",\n" * (written > 0) + json.dumps(benchmark, indent=4))
            written += 1
        rest = {"datetime": "2026-01-01T00:00:00+00:00", "study": study}
        for key, value in pieces(io.StringIO(json.dumps(rest)), OPENED):
            seal.add(key, value)
        file.write("], " + json.dumps(rest | {KEY: seal.digest()}, indent=4)[1:] + "\n")
    return written
