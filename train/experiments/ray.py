"""Training on Ray: `python -m train.experiments.ray kills`, and `... overhead`, some minutes each on a quiet machine.

- kills: six runs of the baseline on a cluster of two nodes of one core each, on this machine. Of each run a worker is
  killed after one of its epochs, and half-way a node is removed. All runs must finish, with the bytes of local ones.
- overhead: the 18 runs of the study with `--engine local` and `--engine ray` in turns, as whole commands.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from study import children
from study.artifacts import Artifacts
from study.errors import exit_with
from study.remote.cluster import private
from train.experiments import turns
from train.options import positive

RUNS = 6
STORE = 200 << 20
"""Bytes of a node's object store."""
SIDES = ("local", "ray")


def main() -> int:
    parser = turns.parser("train.experiments.ray", __doc__)
    parser.add_argument("what", choices=("kills", "overhead"))
    parser.add_argument("--epochs", type=positive, metavar="N", help="of a run (default: 4 and the recipe's)")
    options = parser.parse_args()
    data = turns.images(options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in SIDES:
            (folder / side).mkdir()
            (folder / side / "data").symlink_to(data.resolve())
        return kills(folder, options.epochs or 4) if options.what == "kills" else overhead(options, data)


def overhead(options: argparse.Namespace, data: Path) -> int:
    """Time both engines; 0."""

    def rate(side: str) -> float:
        words = ["--epochs", str(options.epochs)] if options.epochs else []
        return 18 / turns.minutes([*words, "--engine", side], data)

    medians = turns.medians(options.turns, SIDES, rate, show=True, unit="runs a minute")
    print(turns.summary(medians, "ray", unit="runs a minute"))
    percent = 100 * (medians["local"] / medians["ray"] - 1)
    print(f"overhead of Ray: {percent:.1f} %; {turns.conditions(options.turns)} a run")
    return 0


def two_nodes() -> tuple[Any, list[Any]]:
    """A cluster of two nodes of one core each on this machine, and the nodes; its head has no core.

    It listens on the loopback address, and takes a token that only the children of this process know.
    """
    os.environ.update(private())
    from ray.cluster_utils import Cluster  # now: Ray reads the environment when it is imported

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    return cluster, [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]


def kills(folder: Path, epochs: int) -> int:
    """Kill workers and a node; 1 if a run has not finished with the bytes of a local one."""
    words = ["baseline", "--seeds", ",".join(map(str, range(RUNS))), "--epochs", str(epochs), "--artifacts"]
    turns.train([*words, str(folder / "local")])
    cluster, nodes = two_nodes()
    killed: set[str] = set()
    command = [sys.executable, "-m", "train", *words, str(folder / "ray"), "--engine", "ray"]
    command += ["--ray-address", cluster.address]
    with children.start(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            found = re.match(r"(baseline seed (\d+))  epoch (\d+)/", line)
            if not found or found[1] in killed or int(found[3]) < 1 + int(found[2]) % (epochs - 1 or 1):
                continue
            if number := worker_of(found[1]):
                os.kill(number, signal.SIGKILL)
                killed.add(found[1])
                print(f"--- killed the worker of {found[1]}", flush=True)
            if len(killed) == RUNS // 2 and len(nodes) == 2:
                cluster.remove_node(nodes.pop(), allow_graceful=False)
                print("--- removed a node", flush=True)
    cluster.shutdown()
    same = sum(
        all(
            (b := Artifacts(folder / "ray").run("baseline", seed).folder / name).is_file()
            and b.read_bytes() == (Artifacts(folder / "local").run("baseline", seed).folder / name).read_bytes()
            for name in ("checkpoint.pt", "predictions.csv")
        )
        for seed in range(RUNS)
    )
    print(
        f"{len(killed)} workers killed and {2 - len(nodes)} node removed during {RUNS} runs of {epochs} epochs: "
        f"exit code {process.returncode}, {same} of {RUNS} runs finished with the bytes of local ones"
    )
    return 0 if same == RUNS and len(killed) == RUNS and not process.returncode else 1


def worker_of(label: str) -> int | None:
    """The process of a cluster's worker that makes this run; Ray gives it the name of its task."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().rstrip(b"\0").decode() == f"ray::{label}":
                return int(path.parent.name)
        except (OSError, ValueError):  # it has ended
            continue
    return None


if __name__ == "__main__":
    exit_with(main)
