"""A byte that changed in a file that is read again: noticed, or without effect on what is read."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from analysis.inputs.runs import read_training
from bench.journal import Journal
from study.artifacts import Artifacts
from study.bench_file import read_bench
from study.errors import StudyError
from study.record_files import read_record, write_record
from study.records.ab import AbRecord
from study.records.analysis import PruningRecord
from study.records.bench import JournalEntry
from study.records.compact import CompactRecord
from study.records.export import ExportRecord, PortabilityRecord
from study.records.module import ModuleRecord
from study.records.training import RunRecord, SearchRecord
from study.seal import damage, sealed
from study.variants import Variant
from tests.support.ab import compared
from tests.support.modules import write_module
from tests.support.portability import write_portability
from tests.support.records import BENCH_ENVIRONMENT, ENVIRONMENT, case, cold_start, comparison, search_record
from tests.support.study import layers, seal_tables, write_bench, write_run

FLIPS = 20


def test_the_digest_of_known_values() -> None:
    """A file of today can be read by any later version: of this program, of Python and of msgspec."""
    content = {"schema": "x/1", "b": [1, -0.5, 1e-7, 1e22, 123456.789, 1e16, 5e-324], "a": {"ü": "\u2028\n", "k": None}}
    text = '["a",{"k":null,"ü":"\u2028\\n"}]["b",[1,-0.5,1e-7,1e22,123456.789,1e16,5e-324]]["schema","x/1"]'
    assert sealed(content)["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert list(sealed(content)) == ["schema", "b", "a", "sha256"]


def test_it_covers_values_and_not_their_spelling() -> None:
    content = sealed({"b": 1.5, "a": ["x"]})
    assert damage(json.loads(json.dumps(content, indent=4))) == ""
    spelt = '{"sha256": "...", "a": ["\\u0078"], "b": 15e-1}'.replace("...", content["sha256"])
    assert damage(json.loads(spelt)) == ""
    assert "it was changed" in damage(content | {"b": 1.25})
    assert "found none" in damage({"b": 1.5, "a": ["x"]})


def flipped(content: bytes, seed: int) -> Iterator[bytes]:
    """The content with one bit of one byte changed, the byte at another place each time."""
    chance = np.random.default_rng(seed)
    for at, bit in zip(chance.integers(len(content), size=FLIPS), chance.integers(8, size=FLIPS), strict=True):
        yield content[:at] + bytes([content[at] ^ 1 << int(bit)]) + content[at + 1 :]


def write_all(artifacts: Artifacts) -> dict[str, tuple[Path, Callable[[], Any]]]:
    """A file of each kind, and what reads it."""
    write_run(artifacts, "baseline", 0, layers(0))
    files = artifacts.run("baseline", 0)
    write_portability(artifacts)
    write_record(artifacts.search("gap"), search_record("gap"))
    module = write_module(artifacts, "plain", layers(1))
    case_ = case(artifacts, "baseline", "torch", 1, 1e-4)
    pair = comparison(artifacts, "baseline", 1, 5.4, 5.3, 5.6)
    write_bench(artifacts, [case_], [pair], [cold_start(artifacts, "baseline", "torch")])
    other = structs.replace(case_.key, runtime="onnxruntime")
    ab = artifacts.root / "ab" / "a.json"
    write_record(ab, compared(case_.key, other, 1.5))
    journal = Journal(artifacts.root / "bench.json.journal", BENCH_ENVIRONMENT)
    for each in (JournalEntry(case=case_), JournalEntry(comparison=pair), JournalEntry(exit_status=2)):
        journal.write(each)
    compact = artifacts.zeros("plain") / "compact.json"
    made = CompactRecord(
        source="model.onnx",
        source_sha256="a" * 64,
        onnx_sha256="b" * 64,
        variant=Variant(remove_dead=True),
        source_bytes=2000,
        bytes=1000,
        removed=(),
        sparse=(),
        calls=5,
        max_rel_difference=1e-7,
        environment=ENVIRONMENT,
    )
    write_record(compact, made)
    records = {
        files.record: RunRecord,
        files.export: ExportRecord,
        files.pruning: PruningRecord,
        artifacts.portability: PortabilityRecord,
        artifacts.search("gap"): SearchRecord,
        module.record: ModuleRecord,
        ab: AbRecord,
        compact: CompactRecord,
    }

    def reader(path: Path, kind: Any) -> Callable[[], Any]:
        return lambda: read_record(path, kind, "make it again")

    def training() -> tuple[object, ...]:
        run = read_training(files)
        return run.record, run.history, run.labels.tolist(), run.wrong.tolist()

    return {
        **{path.name: (path, reader(path, kind)) for path, kind in records.items()},
        "bench.json": (artifacts.bench, lambda: read_bench(artifacts.bench, "measure again")),
        "bench.json.journal": (journal.path, lambda: read_bench(journal.path, "measure again")),
        "history.csv": (files.history, training),
        "predictions.csv": (files.predictions, training),
    }


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    kinds = write_all(Artifacts(tmp_path))
    assert len(kinds) == 12
    for seed, (name, (path, read)) in enumerate(kinds.items()):
        whole, expected, noticed = path.read_bytes(), read(), 0
        for content in flipped(whole, seed):
            path.write_bytes(content)
            try:
                found = read()
            except StudyError:
                noticed += 1
            else:
                assert found == expected, f"{name}: {content!r}"
        path.write_bytes(whole)
        assert noticed >= FLIPS // 2, f"{name}: the file has more white space than values"


IMPOSSIBLE = (
    "1,-5,1,0.5,,,3",
    "1,inf,1,0.5,,,3",
    "1,0.1,nan,0.5,,,3",
    "1,0.1,1e308,0.5,,,3",
    "1,0.1,1,-1,,,3",
    "1,0.1,1,0.5,0.3,,3",
    "1,0.1,1,0.5,,,-3",
    "0,0.1,1,0.5,,,3",
    "2,0.1,1,0.5,,,3",
)


@pytest.mark.parametrize("row", IMPOSSIBLE)
def test_impossible_values_are_refused_even_where_the_digest_fits(row: str, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    write_run(artifacts, "baseline", 0, {}, epochs=1)
    files = artifacts.run("baseline", 0)
    files.history.write_text(f"{files.history.read_text().splitlines()[0]}\n{row}\n")
    seal_tables(files.folder)
    with pytest.raises(StudyError, match="expected epoch 1"):
        read_training(files)


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 10**30), ("seed", 2**32), ("opset", 0), ("ir_version", 0), ("bytes", 0)]
)
def test_impossible_values_of_an_export_are_refused(key: str, value: int, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    write_run(artifacts, "baseline", 0, {}, epochs=1)
    path = artifacts.run("baseline", 0).export
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | {key: value})))
    with pytest.raises(StudyError, match=r"xpected `int`|out of range"):
        read_record(path, ExportRecord, "export it again")
