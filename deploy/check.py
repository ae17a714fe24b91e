#!/usr/bin/env python3
"""Holds what deploy/ ships against the real things: promtool, a real Prometheus, a real geminate before its own mock.

    python3 deploy/check.py PATH_TO_GEMINATE

Wants Debian's package `prometheus` (promtool and prometheus in the PATH, or where PROMETHEUS_DIR says); nothing beyond
Python's standard library. PyYAML and systemd-analyze are used where they are there. Everything listens on 127.0.0.1 at
ports that are free, and is ended before this ends. Exit code 0: all is as it says.
"""

import os
import pathlib
import signal
import sys
import tempfile

sys.dont_write_bytecode = True

from checks.answers import alerts_answer, dashboard_answers, metrics_are_explained
from checks.firsts import quickstart_stands
from checks.ground import FAULTS_FOUND, ask, fault, say
from checks.shipped import rules_stand, unit_stands, yaml_stands
from checks.world import LOAD_SECONDS, TOKEN, gateway, load, watcher

# All of it ends within this, whatever hangs.
SECONDS_MAX = 120


def everything_answers(geminate):
    """Prometheus over geminate over the mock, under a small load with faults."""
    with tempfile.TemporaryDirectory(prefix="geminate-deploy-") as scratch:
        scratch = pathlib.Path(scratch)
        with gateway(geminate, scratch) as (data, admin, _), watcher(scratch, admin) as prometheus:
            say("the mock, geminate and Prometheus are up")
            statuses = load(data, LOAD_SECONDS)
            say(f"{sum(statuses.values())} requests made, by status: {dict(sorted(statuses.items()))}")
            missing = {200, 401, 404, 429, 503} - set(statuses)
            if missing:
                fault(f"the load brought no {missing}")
            status, page = ask(f"http://{admin}/metrics")
            if status != 200 or b"fake-key" in page or TOKEN.encode() in page:
                fault(f"/metrics: {status}, or a key or token stands in it")
            metrics_are_explained(page.decode())
            dashboard_answers(prometheus)
            alerts_answer(prometheus)


def too_late(*_):
    """The alarm clock."""
    raise TimeoutError(f"not done within {SECONDS_MAX} s")


def main():
    """All of it; the exit code."""
    geminate = os.path.realpath(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
    signal.signal(signal.SIGALRM, too_late)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.alarm(SECONDS_MAX)
    try:
        yaml_stands()
        unit_stands(geminate)
        rules_stand()
        everything_answers(geminate)
        quickstart_stands(geminate)
    except TimeoutError as late:
        fault(str(late))
    print(f"faults: {len(FAULTS_FOUND)}")
    return 1 if FAULTS_FOUND else 0


if __name__ == "__main__":
    sys.exit(main())
