"""What a machine is, from handmade copies of /proc and /sys: two machines differ, a reboot changes nothing."""

from pathlib import Path

import pytest
from msgspec import structs

from study.processor import cpu_flags, cpu_name, fingerprint, hypervisor, in_words, processor
from study.records.bench import Cache
from study.torch_build import parsed
from tests.support.machines import CPU, lay_out, pairs_of_threads
from tests.support.records import BENCH_ENVIRONMENT

X86 = """\
processor\t: {n}
vendor_id\t: AuthenticAMD
cpu family\t: {family}
model\t\t: {model}
model name\t: AMD EPYC
stepping\t: {stepping}
microcode\t: {microcode}
cpu MHz\t\t: {mhz}
flags\t\t: fpu {flags}
"""
ARM = """\
processor\t: {n}
BogoMIPS\t: 50.00
Features\t: fp asimd asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: {part}
CPU revision\t: 1
"""
FACTS = {"family": 25, "model": 17, "stepping": 1, "microcode": "0xa1", "mhz": 2596.1, "flags": "avx2 avx512f"}
TWO = ((0, 2), (1, 3))


def x86(root: Path, pairs: tuple[tuple[int, int], ...] = TWO, **changes: object) -> Path:
    """A machine of the manufacturer's last but one family, with changes."""
    cpuinfo = "\n".join(X86.format(n=n, **{**FACTS, **changes}) for n in range(4))
    lay_out(root, {"proc/cpuinfo": cpuinfo, **pairs_of_threads(*pairs)})
    return root


def identity(root: Path) -> str:
    return fingerprint(processor(root), cpu_flags(root), cpu_name(root))


def test_the_facts_of_a_processor(tmp_path: Path) -> None:
    root = x86(tmp_path)
    lay_out(root, {f"{CPU}/smt/active": "1", "sys/devices/system/node/online": "0-1"})
    lay_out(root, {f"{CPU}/cpu{core}/topology/physical_package_id": "0" for core in range(4)})
    lay_out(root, {"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc"})
    found = processor(root)
    assert (found.vendor, found.family, found.model, found.stepping) == ("AuthenticAMD", "25", "17", "1")
    assert (found.microcode, found.clock_source, found.numa_nodes, found.sockets) == ("0xa1", "tsc", 2, 1)
    assert (found.logical_cores, found.physical_cores, found.threads_per_core, found.smt) == (4, 2, 2, True)
    assert found.caches == (
        Cache(level=1, kind="data", size_bytes=32 * 1024, shared_by=2, count=2),
        Cache(level=3, kind="unified", size_bytes=8 * 2**20, shared_by=4, count=1),
    )


def test_arm_is_told_apart_by_implementer_and_part(tmp_path: Path) -> None:
    """A chip with two kinds of cores has both."""
    parts = ("0xd05", "0xd05", "0xd0b", "0xd0b")
    lay_out(tmp_path, {"proc/cpuinfo": "\n".join(ARM.format(n=n, part=part) for n, part in enumerate(parts))})
    found = processor(tmp_path)
    assert (found.vendor, found.family, found.model, found.stepping) == ("0x41", "8", "0xd05+0xd0b", "0x3 1")
    other = tmp_path / "other"
    lay_out(other, {"proc/cpuinfo": ARM.format(n=0, part="0xd40")})
    assert identity(other) != identity(tmp_path)


def test_a_system_that_reports_nothing(tmp_path: Path) -> None:
    found = structs.asdict(processor(tmp_path))
    assert found.pop("architecture")
    assert found.pop("caches") == ()
    assert set(found.values()) == {None}


@pytest.mark.parametrize(
    "changes",
    [{"family": 26}, {"model": 1}, {"stepping": 0}, {"flags": "avx2"}, {"pairs": ((0, 1), (2, 3), (4, 5))}],
    ids=str,
)
def test_machines_of_one_name_differ(tmp_path: Path, changes: dict[str, object]) -> None:
    """Both say "AMD EPYC", with as many cores and as much memory."""
    assert identity(x86(tmp_path / "a")) != identity(x86(tmp_path / "b", **changes))  # type: ignore[arg-type]


def test_a_reboot_and_another_kernel_change_nothing(tmp_path: Path) -> None:
    before, after = x86(tmp_path / "a"), x86(tmp_path / "b", microcode="0xa2", mhz=3100.0, flags="avx2 avx512f fsrm")
    lay_out(before, {"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc"})
    lay_out(
        after, {"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet", f"{CPU}/smt/active": "1"}
    )
    assert identity(before) == identity(after)
    assert len(identity(before)) == 12


def test_hypervisors(tmp_path: Path) -> None:
    vendor, product = "sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name"
    for n, (files, found) in enumerate(
        (
            ({vendor: "Amazon EC2", product: "c7i.large"}, "Amazon EC2 c7i.large"),
            ({vendor: "QEMU", product: "Standard PC"}, "QEMU Standard PC"),
            ({vendor: "LENOVO", product: "20XW"}, None),
            ({vendor: "Red Hat", product: "KVM"}, "Red Hat KVM"),
            ({"sys/hypervisor/type": "xen"}, "xen"),
            ({"proc/cpuinfo": "flags : fpu hypervisor"}, "unknown"),
            ({}, None),
        )
    ):
        lay_out(tmp_path / str(n), files)
        assert hypervisor(tmp_path / str(n)) == found


def test_a_machine_in_one_line() -> None:
    assert in_words(BENCH_ENVIRONMENT) == (
        "Imagined(R) CPU & Co <1_000> (family 25, model 17, stepping 1), 2 cores, L3 32 MiB; fingerprint 0123456789ab"
    )
    chip = structs.replace(
        BENCH_ENVIRONMENT.processor,
        threads_per_core=2,
        hypervisor="Amazon EC2 c7i.large",
        caches=(Cache(level=2, kind="unified", size_bytes=2**19, shared_by=1, count=2),),
        family=None,
        model=None,
        stepping=None,
    )
    line = in_words(structs.replace(BENCH_ENVIRONMENT, cpu="X", processor=chip))
    assert line == "X, 2 cores of 2 threads, L2 2 x 0.5 MiB, Amazon EC2 c7i.large; fingerprint 0123456789ab"


def test_the_build_of_torch_from_its_own_text() -> None:
    build = parsed(
        "PyTorch built with:\n  - GCC 13.3\n  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 2024\n"
        "  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80af)\n  - OpenMP 201511 (a.k.a. OpenMP 4.5)\n"
        "  - CPU capability usage: AVX512\n"
    )
    assert (build.onednn, build.mkl, build.openmp) == ("3.12.0", "2024.2-Product", "201511")
    assert (build.compiler, build.cpu_capability) == ("GCC 13.3", "AVX512")
    assert set(structs.asdict(parsed("")).values()) == {None}
