"""The machine of a bench session, and all else that decides how fast it is."""

from typing import Annotated

from msgspec import Meta

from study.records.base import AtLeastOne, Count, Environment, NotNegative, Positive, Record, Sha256


class Cache(Record):
    """One kind of the processor's caches."""

    level: AtLeastOne
    kind: str
    """data, instruction or unified."""
    size_bytes: Count
    shared_by: AtLeastOne
    """Logical cores that share one."""
    count: AtLeastOne
    """How many there are."""


class Processor(Record):
    """The processor, as /proc and /sys report it; null where they do not. Cores of different kinds: a+b."""

    architecture: str
    """Such as x86_64 or aarch64."""
    vendor: str | None
    """Vendor; of ARM the implementer's number, such as 0x41."""
    family: str | None
    """Family; of ARM its architecture's version, such as 8."""
    model: str | None
    """Model number; of ARM the part, such as 0xd0c."""
    stepping: str | None
    """Stepping; of ARM variant and revision, such as 0x3 1."""
    microcode: str | None
    logical_cores: Count | None
    """Logical cores that are online."""
    physical_cores: Count | None
    threads_per_core: AtLeastOne | None
    """Logical cores of a physical one: above 1 with simultaneous multithreading (SMT)."""
    smt: bool | None
    """Whether SMT is switched on."""
    sockets: AtLeastOne | None
    numa_nodes: AtLeastOne | None
    caches: tuple[Cache, ...]
    hypervisor: str | None
    """Hypervisor or the machine's type that it presents, such as "Amazon EC2 c7i.large"; "unknown": some hypervisor;
    null: none is visible."""
    clock_source: str | None
    """What the kernel's clock counts, such as tsc."""


class TorchBuild(Record):
    """How torch was built; null where it does not report it."""

    onednn: str | None
    """Version of oneDNN (MKL-DNN)."""
    mkl: str | None
    """Version of MKL, on which its matrix products may run."""
    openmp: str | None
    compiler: str | None
    cpu_capability: str | None
    """Instruction set that its own kernels use here."""


class BenchEnvironment(Environment, kw_only=True):
    """The environment of a session, and what decides how fast its machine is."""

    fingerprint: Annotated[str, Meta(pattern="^[0-9a-f]{12}$")]
    """Digest of the processor, its caches, cores, instruction sets and hypervisor: files with the same one come from
    the same kind of machine. Kernel, microcode, memory, clock source, versions and settings do not enter it."""
    processor: Processor
    torch_build: TorchBuild | None
    """Null if torch takes no part."""
    cpu_flags: tuple[str, ...]
    """Instruction sets and features of the processor."""
    affinity: tuple[Count, ...] | None
    """Numbers of the cores that this process may run on."""
    quota_cores: Positive | None
    """Processor time that the control group allows, in cores."""
    governor: str | None
    turbo: bool | None
    """Whether the cores may exceed their nominal frequency."""
    thread_variables: dict[str, str]
    """Those of OMP_NUM_THREADS and its like that are set."""
    load_before: NotNegative | None
    load_after: NotNegative | None
    files_sha256: dict[str, Sha256]
    """SHA-256 of the ONNX files and of the test images."""
    gpu: str | None
    """Name and driver of the GPU, with `--device cuda`."""
    command: tuple[str, ...] = ()
    """The words of the command line after `pytest`, with the shapes and values of inputs; absent in older files."""
