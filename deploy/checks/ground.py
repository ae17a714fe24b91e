"""What every part stands on: faults that are noted, processes that end, questions over HTTP."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent
# One answer of whoever is asked, and what a process may take to be there.
PATIENCE = 20
BEGAN = time.monotonic()

# What is wrong so far; and how much of it was there at the last line of the report.
FAULTS_FOUND = []
TOLD = [0]


def fault(text):
    """Notes what is wrong; the check goes on, and fails at its end."""
    FAULTS_FOUND.append(text)
    print(f"FAULT: {text}", flush=True)


def say(text):
    """A line of the report: what is so, but for the faults since the last one."""
    but = "but for the faults above, " if len(FAULTS_FOUND) > TOLD[0] else ""
    TOLD[0] = len(FAULTS_FOUND)
    print(f"{time.monotonic() - BEGAN:5.1f} s  {but}{text}", flush=True)


def tool(name):
    """The path of a program of Debian's package `prometheus`."""
    place = os.environ.get("PROMETHEUS_DIR")
    found = shutil.which(name, path=place) if place else shutil.which(name)
    if not found:
        sys.exit(f"{name} is needed: Debian's package prometheus has it (PROMETHEUS_DIR may say where it lies)")
    return found


def run(*command, **more):
    """Runs it to its end, and gives its code and what it said."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False, **more
    )
    return done.returncode, done.stdout


@contextlib.contextmanager
def started(name, command, log, **more):
    """A process that is ended with all it started, however this is left."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **more
        )
    try:
        yield process
        if process.poll() is not None:
            fault(f"{name} ended by itself with {process.returncode}: {tail(log)}")
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=8)
                break
        # Whoever is left of those it started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def tail(log):
    """The end of a log."""
    return pathlib.Path(log).read_text(encoding="utf-8", errors="replace")[-600:]


def until(what, look, patience=PATIENCE):
    """What `look` finds, once it finds something."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not within {patience} s")


def heard(log, pattern):
    """What a log says after `pattern`."""
    found = re.search(pattern, pathlib.Path(log).read_text(encoding="utf-8", errors="replace"))
    return found and found.groups()


def free_port():
    """A port of this machine that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url, body=None, headers=None):
    """Status and body; 0 where the answer broke off."""
    asked = urllib.request.Request(
        url, data=body and json.dumps(body).encode(), headers={"content-type": "application/json", **(headers or {})}
    )
    try:
        with OPENER.open(asked, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, http.client.HTTPException):
        return 0, b""


def clean(**variables):
    """This environment without settings of whoever runs the check."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "TZ")}
    return {**kept, "NO_PROXY": "127.0.0.1", **variables}


def prompt(text, **more):
    """A body that asks for an answer."""
    return {"contents": [{"parts": [{"text": text}]}], **more}
