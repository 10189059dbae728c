"""Made-up records whose every number is known, as the earlier stages would write them.

`changes` replace fields of a record; of a measurement also those of its key.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import structs

from study.artifacts import Artifacts
from study.catalogue import ENTRIES, entry
from study.files import sha256
from study.records.analysis import ImagesUsed, PruningPoint, PruningRecord, PruningTest
from study.records.base import Environment, Interval, Parity
from study.records.bench import (
    AfterSwitch,
    BenchEnvironment,
    BestOf,
    Cache,
    Calibration,
    Candidate,
    CaseKey,
    CaseProcess,
    CaseRecord,
    ColdStartRecord,
    ComparisonProcess,
    ComparisonRecord,
    Controls,
    ControlsOnce,
    Machine,
    MatrixProduct,
    Measurement,
    PairSettings,
    Processor,
    Range,
    WarmUpRecord,
)
from study.records.export import ExportRecord
from study.records.profile import OperatorRecord, ProfileRecord
from study.records.scenarios import OfflineProcess, OfflineRecord, ServerProcess, ServerRecord
from study.records.training import (
    BestTrial,
    ImageCounts,
    Importance,
    RunRecord,
    SearchRange,
    SearchRecord,
    TrainedOn,
    TrialRecord,
)
from study.variants import STANDARD_NAME

CHECKPOINT = "c" * 64
NETWORK = "e" * 64
ENVIRONMENT = Environment(
    cpu="Imagined(R) CPU & Co <1_000>",
    cores=2,
    memory_bytes=8 * 2**30,
    system="Linux",
    python="3.11.0",
    packages={"torch": "2.13.0", "onnxruntime": "1.31.1"},
    commit="0123456789abcdef0123456789abcdef01234567",
    dirty=False,
)
BENCH_ENVIRONMENT = BenchEnvironment(
    **structs.asdict(ENVIRONMENT),
    fingerprint="0123456789ab",
    processor=Processor(
        architecture="x86_64",
        vendor="Imagined",
        family="25",
        model="17",
        stepping="1",
        microcode="0x1",
        logical_cores=2,
        physical_cores=2,
        threads_per_core=1,
        smt=False,
        sockets=1,
        numa_nodes=1,
        caches=(Cache(level=3, kind="unified", size_bytes=32 * 2**20, shared_by=2, count=1),),
        hypervisor=None,
        clock_source="tsc",
    ),
    torch_build=None,
    cpu_flags=("avx2", "fma"),
    affinity=(0, 1),
    quota_cores=None,
    governor="performance",
    turbo=False,
    thread_variables={},
    load_before=0.1,
    load_after=0.9,
    files_sha256={},
    gpu=None,
)
QUIET = Machine(
    other_cores=0.01,
    other_share=0.005,
    cache_neighbours_share=None,
    steal_share=0.0,
    throttled_share=0.0,
    involuntary_switches_per_second=1.5,
    load_before=0.5,
    load_after=None,
    clock_disagreement=1e-5,
)
CALIBRATION = Calibration(arithmetic_seconds=2e-4, memory_seconds=3e-4)
AROUND = (0.99, 0.995, 1.0, 1.005, 1.01)
"""What each of five processes measures, as a multiple of what they measure together."""
M = TypeVar("M", bound=Measurement)


def run_record(
    model: str,
    seed: int,
    *,
    test_error: float = 0.08,
    train_error: float = 0.05,
    parameters: int = 61_706,
    epochs: int = 3,
    validation: Sequence[float] = (),
) -> RunRecord:
    """A run that validated with these errors after each epoch, if any, and kept the best one's weights.

    A model that is not in the catalogue has the network and the recipe of its first one.
    """
    kept = 1 + validation.index(min(validation)) if validation else epochs
    like = next((one for one in ENTRIES if one.name == model), ENTRIES[0])
    return RunRecord(
        model=model,
        seed=seed,
        network=like.network,
        network_sha256=NETWORK,
        recipe=like.recipe,
        dataset=TrainedOn(name="Fashion-MNIST", classes=("a", "b"), mean=0.28, std=0.35, files={}),
        parameters=parameters,
        train_error=train_error,
        test_error=test_error,
        train_loss=0.15,
        test_loss=0.23,
        penalty=0.0,
        learning_rate_sum=300.0,
        penalty_strength=0.0,
        epochs=len(validation) or epochs,
        kept_epoch=kept,
        validation_error=validation[kept - 1] if validation else None,
        validation_loss=3 * validation[kept - 1] if validation else None,
        seconds=100.0,
        images_per_second=18000.0,
        environment=ENVIRONMENT,
        checkpoint_sha256=CHECKPOINT,
        history_sha256="0" * 64,
        predictions_sha256="0" * 64,
    )


def export_record(
    model: str, seed: int, onnx_sha256: str, size: int, test_error: float | None, **changes: Any
) -> ExportRecord:
    """An export of a run that computes the same as PyTorch."""
    made = ExportRecord(
        model=model,
        seed=seed,
        onnx_sha256=onnx_sha256,
        checkpoint_sha256=CHECKPOINT,
        opset=18,
        ir_version=8,
        bytes=size,
        parity=Parity(images=10_000, max_abs_difference=2e-7, argmax_mismatches=0),
        test_error_onnxruntime=test_error,
        environment=ENVIRONMENT,
    )
    return structs.replace(made, **changes)


def pruning_record(model: str, seed: int, onnx_sha256: str) -> PruningRecord:
    """60 % of the weights can be pruned (70 % with seed 1), for 0.4 points on 20,000 images and 0.3 in the test."""
    share = 0.7 if seed == 1 else 0.6
    errors = {0.0: 0.05, 0.5: 0.052, share: 0.054, round(share + 0.05, 2): 0.058, 1.0: 0.9}
    curve = tuple(PruningPoint(share=share, threshold=share / 10, error=error) for share, error in errors.items())
    return PruningRecord(
        model=model,
        seed=seed,
        onnx_sha256=onnx_sha256,
        loss_allowed=0.005,
        images=ImagesUsed(part="train", first=40_000, count=20_000),
        weights=58_920,
        uncut_error=0.05,
        curve=curve,
        cut=curve[2],
        test=PruningTest(images=10_000, error=0.083, uncut_error=0.08),
        environment=ENVIRONMENT,
    )


def search_record(model: str, **changes: Any) -> SearchRecord:
    """A search with four trials: the model's own recipe, one that was pruned, the best, and one that failed.

    The best one's recipe has the learning rate 0.02.
    """
    recipe = structs.replace(entry(model).recipe, learning_rate=0.02, flip=False, validation=0, patience=0)
    made = SearchRecord(
        model=model,
        network=entry(model).network,
        network_sha256=NETWORK,
        dataset=entry(model).dataset,
        images=ImageCounts(training=40_000, validation=20_000),
        trial_epochs=2,
        trial_seed=0,
        space={
            "learning_rate_sgd": SearchRange(low=0.01, high=0.3, log=True),
            "flip": SearchRange(choices=(True, False)),
        },
        finished=3,
        trials=(
            trial(0, "complete", (0.3, 0.12), own=True, values={"learning_rate": 0.1, "flip": True}),
            trial(1, "pruned", (0.5,), reason="behind", values={"learning_rate": 0.3, "flip": True}),
            trial(2, "complete", (0.2, 0.09), values={"learning_rate": 0.02, "flip": False}),
            trial(3, "failed", (), reason="its process ended"),
        ),
        best=BestTrial(number=2, validation_error=0.09, recipe=recipe),
        importance=Importance(
            evaluator="PED-ANOVA",
            best_share=0.25,
            epoch=1,
            trials=40,
            shares={"flip": 0.25, "learning_rate_sgd": 0.75},
        ),
        seeds=(0, 1, 2),
        environment=ENVIRONMENT,
    )
    return structs.replace(made, **changes)


def trial(number: int, state: Any, errors: tuple[float, ...], **changes: Any) -> TrialRecord:
    """A trial with these validation errors after its epochs."""
    made: dict[str, Any] = {"own": False, "repeats": None, "reason": None, "values": {}, **changes}
    last = errors[-1] if state == "complete" else None
    made |= {"epochs": len(errors), "validation_errors": errors, "validation_error": last, "seconds": 12.5}
    return TrialRecord(number=number, state=state, **made)


def interval(value: float, low: float = 0.98, high: float = 1.03) -> Interval:
    """From `low` to `high` times the value."""
    return Interval(value=value, low=value * low, high=value * high)


def case(artifacts: Artifacts, model: str, runtime: str, batch: int, seconds: float, **changes: Any) -> CaseRecord:
    """A benchmark case of the model's run with seed 0, in five processes.

    The interval of its median is from 0.98 to 1.03 times itself.
    """
    made = CaseRecord(
        key=_key(artifacts, model, runtime, batch),
        **_conditions(),
        onnx_bytes=250_880,
        parameters=61_706,
        macs=416_520,
        subnormal_weights=0,
        inputs_sha256="a" * 64,
        input_seed=None,
        input_shapes={"image": (batch, 1, 28, 28)},
        samples=100,
        median_seconds=interval(seconds),
        p90_seconds=interval(seconds * 1.2, 1.1 / 1.2, 1.3 / 1.2),
        p95_seconds=None,
        p99_seconds=None,
        p999_seconds=None,
        images_per_second_at_median=batch / seconds,
        parity=Parity(images=256, max_abs_difference=1e-7, argmax_mismatches=0, against="torch"),
        threads_read_back=1,
        settings={"graph": "all"},
        processes=tuple(case_process(n, seconds * factor) for n, factor in enumerate(AROUND, 1)),
    )
    return _changed(made, changes)


def case_process(number: int, seconds: float, **changes: Any) -> CaseProcess:
    """A case in one process: two loads, 1 % apart, with 10 calls each."""
    made = CaseProcess(
        **_of_process(number),
        samples=20,
        median_seconds=seconds,
        p90_seconds=seconds * 1.2,
        p95_seconds=seconds * 1.3,
        p99_seconds=seconds * 1.4,
        p999_seconds=seconds * 1.5,
        load_medians_seconds=(seconds * 0.995, seconds * 1.005),
        drift=0.002,
        spread=0.01,
        warmup=WarmUpRecord(calls=50, seconds=0.1, stable=True),
    )
    return structs.replace(made, **changes)


def matrix_product(flops_per_second: float = 104.2e9, threads: int = 1) -> MatrixProduct:
    """The machine's peak, by numpy."""
    return MatrixProduct(threads=threads, flops_per_second=flops_per_second, size=512, library="numpy")


def comparison(
    artifacts: Artifacts, model: str, batch: int, ratio: float, low: float, high: float, **changes: Any
) -> ComparisonRecord:
    """ONNX Runtime against torch, in five processes; the margin is 2 %, the unpaired ratio 1 % lower.

    Calls right after a switch of engines are slower by 5 % in torch and by 20 % in ONNX Runtime.
    """
    control = Interval(value=1.001, low=0.998, high=1.004)
    equal = low >= 1 / 1.02 and high <= 1.02
    made = ComparisonRecord(
        key=_key(artifacts, model, "onnxruntime", batch),
        **_conditions(),
        reference="torch",
        ratio=Interval(value=ratio, low=low, high=high),
        unpaired_ratio=interval(ratio * 0.99),
        controls=Controls(reference=control, runtime=control),
        after_switch_reference=AfterSwitch(lead_in_calls=2, effects=(0.05, 0.01)),
        after_switch_runtime=AfterSwitch(lead_in_calls=3, effects=(0.2, 0.04, 0.01)),
        settings=PairSettings(reference={"threads": 1}, runtime={"threads": 1}),
        processes=tuple(comparison_process(n, ratio * factor) for n, factor in enumerate(AROUND, 1)),
        margin=0.02,
        verdict="faster" if low > 1 else "slower" if high < 1 else "the same" if equal else "undecided",
    )
    return _changed(made, changes)


def best_of(reference: Mapping[str, float], runtime: Mapping[str, float]) -> BestOf:
    """The candidates of both sides with their seconds in the pilot, the fastest first."""
    sides = [
        tuple(Candidate(runtime=name, pilot_seconds=seconds) for name, seconds in side.items())
        for side in (reference, runtime)
    ]
    return BestOf(reference=sides[0], runtime=sides[1])


def comparison_process(number: int, ratio: float, **changes: Any) -> ComparisonProcess:
    """A comparison in one process, 36 of whose 40 blocks were at full speed."""
    made = ComparisonProcess(
        **_of_process(number),
        ratio=ratio,
        controls=ControlsOnce(reference=1.001, runtime=0.999),
        rounds=4,
        blocks=40,
        full_speed_blocks=36,
        calls=800,
        random_seed=number,
    )
    return structs.replace(made, **changes)


def cold_start(
    artifacts: Artifacts, model: str, runtime: str, *, total_seconds: float = 0.5, **changes: Any
) -> ColdStartRecord:
    """Five fresh processes: 80 % of the time and 32 of 64 MiB are the import's; ranges are -10 to +20 %."""

    def spread(median: float) -> Range:
        values = tuple(median * factor for factor in (1.2, 1.0, 0.9, 1.0, 1.1))
        return Range(median=median, lowest=median * 0.9, highest=median * 1.2, values=values)

    shares = {"import": 0.8, "load": 0.15, "first_call": 0.05, "total": 1.0}
    mib = {"import": 32, "load": 24, "run": 8, "peak": 64}
    steps: dict[str, Any] = {f"{step}_seconds": spread(total_seconds * share) for step, share in shares.items()}
    steps |= {f"{step}_bytes": spread(n * 2**20) for step, n in mib.items()}
    made = ColdStartRecord(
        key=_key(artifacts, model, runtime, 1),
        **_conditions(),
        machine=QUIET,
        processes=5,
        **steps,
    )
    return _changed(made, changes)


def offline_load(artifacts: Artifacts, model: str, rate: float, streams: int = 1, **changes: Any) -> OfflineRecord:
    """This throughput, in items a second, in two processes, with an interval from 0.98 to 1.03 times itself."""
    process: dict[str, Any] = {
        "window_seconds": 1.0,
        "calls_per_stream": (rate / streams,) * streams,
        "overhead_seconds": 1e-7,
    }
    made = OfflineRecord(
        key=_key(artifacts, model, "onnxruntime", 1),
        **_conditions(),
        streams=streams,
        oversubscribed=streams > 2,
        threads_read_back=1,
        settings={"threads": 1},
        items_per_second=interval(rate),
        processes=tuple(OfflineProcess(**_of_process(i), **process, items_per_second=rate) for i in (1, 2)),
    )
    return _changed(made, changes)


def server_load(artifacts: Artifacts, model: str, rate: float, p99: float, **changes: Any) -> ServerRecord:
    """The highest rate whose p99, in seconds, stays under 10 ms, in two processes; too few queries for its p90."""
    process: dict[str, Any] = {"rate": rate, "queries": 1000, "random_seed": 1, "mean_wait_seconds": p99 / 10}
    process |= {"p50_seconds": p99 / 4, "p90_seconds": p99 / 2, "p99_seconds": p99, "load": 0.6}
    process |= {"overhead_seconds": 1e-7, "trials": 12, "above_rate": 1.01 * rate, "above_p99_seconds": 0.0101}
    made = ServerRecord(
        key=_key(artifacts, model, "onnxruntime", 2),
        **_conditions(),
        streams=1,
        oversubscribed=False,
        threads_read_back=1,
        settings={"threads": 1},
        bound_seconds=0.01,
        rate=interval(rate),
        p50_seconds=interval(p99 / 4),
        p90_seconds=None,
        p99_seconds=interval(p99),
        load=interval(0.6),
        processes=tuple(ServerProcess(**_of_process(i), **process) for i in (1, 2)),
    )
    return _changed(made, changes)


def profile(
    artifacts: Artifacts,
    model: str,
    runtime: str,
    operators: Sequence[tuple[str, str | None, float]],
    *,
    outside_seconds: float = 0.0,
    batch: int = 1,
    **changes: Any,
) -> ProfileRecord:
    """Operators with a name, a module and seconds; the profiler takes as long as the call, and is known exactly."""
    total = sum(seconds for *_, seconds in operators) + outside_seconds
    made = ProfileRecord(
        key=_key(artifacts, model, runtime, batch),
        **_conditions(),
        unprofiled_seconds=total,
        profiled_seconds=2 * total,
        calls=1000,
        events=len(operators),
        event_seconds=total / len(operators),
        call_seconds=0.0,
        resolution_seconds=0.0,
        outside_seconds=outside_seconds,
        accounted=1.0,
        operators=tuple(
            OperatorRecord(name=name, kind=name.partition("_")[0], kernel=None, module=module, seconds=seconds)
            for name, module, seconds in operators
        ),
    )
    return _changed(made, changes)


def _key(artifacts: Artifacts, model: str, runtime: str, batch: int) -> CaseKey:
    """The model's run with seed 0, one thread, on the CPU."""
    onnx_file = artifacts.run(model, 0).onnx
    digest = sha256(onnx_file) if onnx_file.is_file() else "0" * 64
    return CaseKey(
        model=model,
        variant=STANDARD_NAME,
        seed=0,
        onnx_sha256=digest,
        runtime=runtime,
        batch=batch,
        threads=1,
        mode="native",
        device="cpu",
    )


def _conditions() -> dict[str, Any]:
    return {"quick": False, "valid": True, "reasons": ()}


def _of_process(number: int) -> dict[str, Any]:
    return {
        "process": number,
        "calibration": CALIBRATION,
        "machine": QUIET,
        "cores_used": 1.0,
        "valid": True,
        "reasons": (),
    }


def _changed(record: M, changes: dict[str, Any]) -> M:
    of_key = {key: value for key, value in changes.items() if key in CaseKey.__struct_fields__}
    others = {key: value for key, value in changes.items() if key not in of_key}
    return structs.replace(record, key=structs.replace(record.key, **of_key), **others)
