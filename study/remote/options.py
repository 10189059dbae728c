"""The options that choose where the work is done: in processes of this machine, or as tasks of Ray."""

from argparse import ArgumentParser, Namespace
from importlib.util import find_spec

from study.errors import StudyError

NEEDS_RAY = "--engine ray needs Ray: `pip install -c constraints.txt ray`, or use --engine local"


def add_engine(parser: ArgumentParser, work: str) -> None:
    """Add --engine and --ray-address; `work` is what is done there, in the plural."""
    add = parser.add_argument
    add("--engine", choices=("local", "ray"), default="local", help=f"where the {work} are made (default: local)")
    add(
        "--ray-address",
        metavar="HOST:PORT",
        help="with --engine ray: the head of a cluster that this machine is part of, or auto (default: a local one)",
    )


def on_ray(options: Namespace) -> bool:
    """Whether the work is done by Ray.

    Raises:
        StudyError: Ray is missing, or the address of a cluster is given for another engine, or is Ray Client's.
    """
    address = options.ray_address
    if options.engine != "ray":
        if address is not None:
            raise StudyError(f"--ray-address {address}: expected --engine ray beside it, found --engine local")
        return False
    if address is not None and (not address or "://" in address or address == "local"):
        raise StudyError(
            f"--ray-address: expected HOST:PORT of a cluster's head, or auto, found {address!r}; Ray Client (ray://) "
            "has no streaming tasks: run the command on a machine of the cluster"
        )
    if not find_spec("ray"):
        raise StudyError(NEEDS_RAY)
    return True
