"""What a scenario is made of: the mock, geminate before it, a line with TLS, clients' programs, and a tally."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
BINARY = os.environ.get("GEMINATE_BIN", str(HERE.parent.parent / "target/debug/geminate"))
PYTHON = os.environ.get("PYTHON", sys.executable)
NODE = os.environ.get("NODE", "node")
CLIENT_S_MAX = 90
# Nothing of whoever runs this is the clients'.
PLAIN = {name: value for name, value in os.environ.items()
         if not name.startswith(("GEMIN", "GOOGLE_", "OPENAI_", "LITELLM_", "LANG", "SSL_"))
         and not name.lower().endswith("_proxy")}


class Tally:
    """What passed and what failed, a line each."""

    def __init__(self):
        self.passed = self.failed = 0

    def line(self, line):
        """A line of a client: an outcome, or what belongs to one."""
        print(line, flush=True)
        self.passed += line.startswith("ok ")
        self.failed += line.startswith("failed ")

    def check(self, name, truth, otherwise=""):
        """One check of the driver's own."""
        self.line(f"ok {name}" if truth else f"failed {name}: {otherwise}")


def ask(url, body=None, **headers):
    """The JSON that a URL answers."""
    request = urllib.request.Request(url, data=body and body.encode(), headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return json.load(answer)


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(process, ready):
    """Waits until a process that was just started does what `ready` asks for."""
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"{process.args[:2]} ended with {process.returncode} before it served")
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"{process.args[:2]} does not serve")


def stop(process):
    """Asks a process to end; its exit code, or None when it had to be killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


class Town:
    """A mocked Google with its keys, geminate with a pool of them, and whoever calls it."""

    def __init__(self, tally, home):
        self.tally, self.home, self.processes = tally, pathlib.Path(home), []
        data, admin, upstream, self.tls_port = free_ports(4)
        self.mock, self.gateway, self.monitor = (f"http://127.0.0.1:{port}" for port in (upstream, data, admin))
        self.data = data
        self.tls = f"https://127.0.0.1:{self.tls_port}"
        self.certificate = self.home / "certificate.pem"
        self.secrets = []

    def start(self, command, ready, surroundings=PLAIN):
        """Starts a process that lives as long as the town, with the town's log for what it says."""
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.home, env=surroundings, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log)
        self.processes.append(process)
        until(process, ready)

    def found(self, pool, tokens, *flags, known=None, **settings):
        """The mock with the keys that Google knows, `KEY@PROJECT`, then geminate with its pool and its clients'."""
        self.secrets = [*(entry.split(":")[0] for entry in pool), *tokens]
        listens = f"--listen={self.mock.removeprefix('http://')}"
        self.start([BINARY, "mock", listens, *(f"--key={key}" for key in known), *flags],
                   lambda: ask(f"{self.mock}/mock/state"))
        own = {
            "GEMINI_API_KEY": ",".join(pool), "GEMINI_BASE_URL": self.mock, "AUTH_TOKEN": ",".join(tokens),
            "PORT": str(self.data), "ADMIN_PORT": self.monitor.rsplit(":", 1)[1], "DATA_DIR": str(self.home / "data"),
            "LOG_FORMAT": "text",
        }
        self.start([BINARY, "serve"], lambda: ask(f"{self.gateway}/readyz"), PLAIN | own | settings)

    def raise_tls(self):
        """A line with TLS before geminate, for clients that speak over nothing else."""
        self.start([PYTHON, str(HERE / "tls.py"), str(self.tls_port), str(self.data), str(self.certificate)],
                   self.certificate.exists)

    def play(self, name, token, **more):
        """A client's program, its lines told; whether it ran to its end is one of the checks."""
        surroundings = PLAIN | {
            "GEMINATE_URL": self.gateway, "GEMINATE_TOKEN": token, "GEMINATE_TLS_URL": self.tls,
            "SSL_CERT_FILE": str(self.certificate) if "live" in name else "", "PYTHONPATH": str(HERE),
            "PYTHONWARNINGS": "ignore", "NODE_NO_WARNINGS": "1", **more,
        }
        surroundings = {name: value for name, value in surroundings.items() if value}
        started = time.monotonic()
        program = PYTHON if name.endswith(".py") else NODE
        process = subprocess.Popen([program, str(HERE / name)], cwd=self.home, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=surroundings)
        try:
            output, _ = process.communicate(timeout=CLIENT_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += f"failed {name}: not done within {CLIENT_S_MAX} s\n"
        for line in output.splitlines():
            self.tally.line(line)
        took = time.monotonic() - started
        ended = process.returncode == 0 and "\nok " in f"\n{output}"
        self.tally.check(f"{name} ran to its end in {took:.1f} s", ended, f"exit code {process.returncode}")

    def calls(self, since=0):
        """What Google saw after the call numbered `since`."""
        return ask(f"{self.mock}/mock/calls?since={since}")["calls"]

    def keys(self, token):
        """The pool's keys as the operator sees them, by their ids."""
        return {key["id"]: key for key in ask(f"{self.monitor}/monitor/keys", Authorization=f"Bearer {token}")["keys"]}

    def one_credential(self, calls, pool):
        """Holds that each call came to Google with one credential, and that one of the pool's."""
        several = [call["path"] for call in calls if len(call["credentials"]) != 1]
        self.tally.check(f"each of {len(calls)} calls had exactly one credential", calls and not several, several)
        own = {f"....{key[-4:]}" for key in pool}
        # A session opened by a token that Google gave carries that, and no key.
        foreign = [(call["path"], call["credentials"]) for call in calls for one in call["credentials"]
                   if (one["tail"] not in own or one["form"] == "Query") and "Constrained" not in call["path"]]
        self.tally.check("only keys of the pool went upstream, in headers", not foreign, foreign)

    def close(self):
        """Ends what is left running and looks at what was said."""
        codes = [stop(process) for process in reversed(self.processes)]
        text = (self.home / "log").read_text(errors="replace")
        self.tally.check("all ends stopped when told to", not any(codes), codes)
        found = [secret[-4:] for secret in self.secrets if secret in text]
        self.tally.check("no secret is in the log", not found, found)
        return text


@contextlib.contextmanager
def town(tally, title):
    """A town for a scenario; its log is told where something failed."""
    failed = tally.failed
    print(f"\n-- {title}", flush=True)
    with tempfile.TemporaryDirectory(prefix="geminate-clients-") as home:
        place = Town(tally, home)
        try:
            yield place
        finally:
            text = place.close()
            if tally.failed > failed:
                print(f"--- the log ---\n{text[-20000:]}")
