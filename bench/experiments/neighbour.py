"""Another process keeps one core busy: every record should report it, and the ratio should stay or be withheld."""

from argparse import Namespace

from bench.experiments.common import beside, interval, made_with, session, verdict

STAYS = 0.05


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 5
    place = f"{options.model}, torch over {options.runtime}, batch {options.batch}"
    print(f"{place}, {repetitions} sessions quiet and busy; {made_with()}")
    reached = True
    for n in range(repetitions):
        (quiet,) = session(options, f"torch,{options.runtime}").comparisons
        with beside("while True: pass"):
            busy_session = session(options, f"torch,{options.runtime}")
        (disturbed,) = busy_session.comparisons
        records = [disturbed, *busy_session.cases]
        reported = sum(any("other processes" in reason for reason in record.reasons) for record in records)
        moved = disturbed.ratio.value / quiet.ratio.value - 1
        print(f"{n + 1:3}  quiet {interval(quiet.ratio)}: {verdict(quiet)}")
        print(f"     busy  {interval(disturbed.ratio)}, so it moved by {moved:+.2%}: {verdict(disturbed)}")
        print(f"     {reported} of {len(records)} records report other processes", flush=True)
        reached &= reported == len(records) and (abs(moved) <= STAYS or disturbed.verdict == "withheld")
    return reached
