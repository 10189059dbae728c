"""End the threads of OpenMP, which keeps its pool until `omp_pause_resource_all` is called."""

import ctypes
from pathlib import Path

OMP_PAUSE_HARD = 2
"""omp_pause_hard of the OpenMP 5.0 specification, section 3.2.44: release all resources, threads included."""


def end_threads() -> None:
    """End the threads of every OpenMP library in this process; does nothing on systems without /proc."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return
    files = {line.split(maxsplit=5)[-1] for line in lines if line.count("/")}
    for file in sorted(files):
        if Path(file).name.startswith(("libgomp", "libiomp5", "libomp")):
            ctypes.CDLL(file).omp_pause_resource_all(OMP_PAUSE_HARD)
