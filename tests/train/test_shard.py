"""`--shard I/N`: the shards are the list of runs, cut without remainder, finished runs included."""

import argparse
from pathlib import Path

import pytest

from study import catalogue
from study.artifacts import Artifacts
from train import runs
from train.options import Shard, shard

ENTRIES = [catalogue.entry(name) for name in ("gap", "baseline", "l2-1e-3")]


@pytest.mark.parametrize("count", [1, 2, 4, 9, 12])
def test_every_run_is_in_one_shard(count: int, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    everything = [(entry, artifacts.run(entry.name, seed)) for entry in ENTRIES for seed in (3, 1, 2)]
    shards = [runs.listed(ENTRIES, (3, 1, 2), artifacts, Shard(index, count)) for index in range(1, count + 1)]
    assert sorted(str(run) for each in shards for run in each) == sorted(map(str, everything))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_shard_is_every_nth_run_from_the_ith_on(tmp_path: Path) -> None:
    second = runs.listed(ENTRIES, (0, 1, 2), Artifacts(tmp_path), Shard(2, 4))
    assert [(entry.name, files.seed) for entry, files in second] == [("gap", 1), ("baseline", 2)]


def test_a_shard_that_is_none_is_refused() -> None:
    assert shard("4/4") == Shard(4, 4)
    for text in ("0/4", "5/4", "1", "a/b", "1/-2", "1/4/2", "1/0"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"expected I/N with I from 1 to N, such as 1/4, found"):
            shard(text)
