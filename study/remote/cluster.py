"""The cluster of Ray that this command works on: an existing one that it joins, or one of its own on this machine.

One of its own listens on the loopback address alone and takes a token that only this command and its children know. It
has no dashboard, and ends with the command, however that ends: the kernel kills its processes with their parent.
"""

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.children import descendants
from study.entry import Entry
from study.environment import COMMIT, commit
from study.errors import StudyError, one_line
from study.remote import code
from study.remote.options import NEEDS_RAY

STORE = 512 << 20
"""Bytes of a local cluster's object store; what does not fit is written to its temporary folder."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it sends them by default
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its warning that this is to change
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""As Ray does on Windows and macOS: every process listens on 127.0.0.1, which `_node_ip_address` alone does not do."""
ANSWER_SECONDS = 10
LONGEST = 48
"""Characters of the temporary folder: a Unix socket in it may have 107."""


@dataclass(frozen=True)
class Place:
    """Where tasks run."""

    address: str | None = None
    """Of the cluster's head; None: a cluster is started."""
    cpus: int = 1
    """Tasks at a time of a cluster that is started."""
    gpu: bool = False
    """Whether the tasks compute on a GPU."""


def join(place: Place, package: str, entries: Iterable[Entry], environment: Mapping[str, str]) -> Any:
    """Join the cluster or start it, once in a process; it ends, or is left, with the process. Gives the module ray.

    Args:
        package: the stage whose code the workers need.
        entries: those whose networks the workers build; they have been built here.
        environment: variables of the workers.

    Raises:
        StudyError: Ray is missing, the cluster cannot be joined or started, or has no GPU although one is needed.
    """
    os.environ.update(QUIET if place.address else private())
    ray = imported()  # now: it reads the environment when it is imported
    if ray.is_initialized():
        return ray
    _answer(place)
    temporary = Path(tempfile.mkdtemp(prefix="ray-", dir=_short(tempfile.gettempdir())))
    atexit.register(_end, ray, place.address is None, temporary)
    code.stage(temporary / "code", package, entries)
    revision, dirty = commit()
    variables = {**environment, **({COMMIT: f"{revision}{'-dirty' * bool(dirty)}"} if revision else {})}
    worker = ray._private.worker
    worker.listen_error_messages = lambda *_: None  # paragraphs on standard error about what is reported here anyway
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            **_options(place, temporary),
            runtime_env={"working_dir": str(temporary / "code"), "env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # of many types
        raise StudyError(_failure(place, one_line(error))) from None
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray's ends the process at once
    if place.gpu and not ray.cluster_resources().get("GPU"):
        raise StudyError("--device cuda: expected a GPU in the Ray cluster, found none; use --device cpu")
    return ray


def imported() -> Any:  # Ray's types are of no use: what it calls is made at run time
    """The module ray.

    Raises:
        StudyError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise StudyError(f"{NEEDS_RAY} ({error})") from None
    return ray


def capacity() -> int:
    """Tasks that the cluster runs at a time, with one core each."""
    return max(1, int(imported().cluster_resources().get("CPU", 1)))


def gpu_share() -> float:
    """The share of a GPU for each task: as many share it as there are cores for it."""
    resources = imported().cluster_resources()
    return min(1.0, float(resources.get("GPU", 0)) / max(1.0, float(resources.get("CPU", 1))))


def _options(place: Place, temporary: Path) -> dict[str, Any]:
    if place.address:
        return {"address": place.address}
    return {
        "address": "local",
        "num_cpus": place.cpus,
        "num_gpus": None if place.gpu else 0,
        "object_store_memory": STORE,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(temporary),
    }


def _answer(place: Place) -> None:
    """
    Raises:
        StudyError: nothing listens at the address; Ray would wait for it for minutes.
    """
    if place.address in (None, "auto"):
        return
    host, _, port = str(place.address).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise StudyError(_failure(place, one_line(error))) from None


def _failure(place: Place, reason: str) -> str:
    if not place.address:
        return f"--engine ray: a local cluster of Ray does not start ({reason}); use --engine local"
    return (
        f"--ray-address {place.address}: the cluster cannot be joined ({reason}); run `ray start --head` on one "
        "machine and `ray start --address HOST:PORT` on the others, this one included, with the same versions of "
        "Python and Ray and the same RAY_AUTH_TOKEN"
    )


def private() -> dict[str, str]:
    """The environment of a cluster that listens on the loopback address alone, with a token of its own."""
    return {**QUIET, **LOOPBACK, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _short(folder: str) -> str:
    return folder if len(folder) <= LONGEST - len("/ray-12345678") else "/tmp"  # noqa: S108, mkdtemp makes it private


def _end(ray: Any, local: bool, temporary: Path) -> None:
    """Leave the cluster, or end a local one, and remove the temporary folder."""
    node = ray._private.worker._global_node
    if local and node and sys.platform == "linux":
        node.kill_all_processes = lambda **_: (
            None
        )  # an orderly end of each takes longer than a command may after Ctrl-C
        ray.shutdown()
        for number in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    else:
        ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)
