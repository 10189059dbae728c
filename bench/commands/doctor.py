"""Say in ten seconds whether this machine is fit to measure on, and what to do.

    python -m bench doctor                 all cores that this process may run on
    python -m bench doctor --cpus 2,3      these cores, as for `pytest bench --cpus 2,3`

Exit code 0: fit; 1: not fit; 2: a mistake.
"""

import argparse
import json
from dataclasses import asdict

NEEDS = ("numpy",)
SLEEP_SECONDS, LOOP_SECONDS = 2.0, 6.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cpus", metavar="N,M-K", help="cores that the measuring processes will run on")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Print the findings; returns 1 if one of them is bad."""
    from bench.doctor import last_cache, load, speed, system
    from bench.doctor.findings import fit, report
    from bench.machine.cpus import chosen_cpus, pin
    from study.machine import identity

    cpus = chosen_cpus(options.cpus)
    fingerprint, words = identity()
    findings = [*system.findings(cpus), *load.findings(load.observe(SLEEP_SECONDS), cpus)]
    pin(cpus)
    findings += speed.findings(speed.loop(LOOP_SECONDS))
    findings += last_cache.findings(last_cache.observe())
    if options.format == "json":
        listed = [asdict(finding) for finding in findings]
        print(json.dumps({"fit": fit(findings), "machine": words, "fingerprint": fingerprint, "findings": listed}))
    else:
        print("\n".join(report(words, findings)), flush=True)
    return 0 if fit(findings) else 1
