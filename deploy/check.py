#!/usr/bin/env python3
"""Holds what deploy/ ships against the real things: promtool, a real Prometheus, a real geminate before its own mock.

    python3 deploy/check.py PATH_TO_GEMINATE

Wants Debian's package `prometheus` (promtool and prometheus in the PATH, or where PROMETHEUS_DIR says); nothing beyond
Python's standard library. PyYAML and systemd-analyze are used where they are there. Everything listens on 127.0.0.1 at
ports that are free, and is ended before this ends. Exit code 0: all is as it says.
"""

import collections
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
# All of it ends within this, whatever hangs.
SECONDS_MAX = 120
# One answer of whoever is asked.
PATIENCE = 20
LOAD_SECONDS = 14
LOAD_REQUESTS_MAX = 1500

# The keys of the check: names, not secrets. The last one is known to nobody.
KEYS = ["fake-key-0001", "fake-key-0002", "fake-key-0003", "fake-key-0004"]
TOKEN = "fake-token-operator"
MODEL, LITE, SPENT, FALLEN = "gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-3.1-pro-preview", "gemini-3.5-flash"
SLOW = "gemini-2.5-flash"
# Places at the gateway, and how many ask at once to find none.
PLACES, CROWD = 8, 14
FAULTS = [
    f"key={KEYS[1]} probability=0.2 fault=overloaded",
    f"key={KEYS[1]} probability=0.1 fault=internal",
    f"model={LITE} action=streamGenerateContent probability=0.2 fault=cut:2",
    f"model={SPENT} skip=6 fault=quota_day",
    f"model={FALLEN} skip=6 fault=quota_day",
    f"model={SLOW} fault=delay:1500ms",
]
CONFIG = f'[models.fallback]\n"{FALLEN}" = ["{MODEL}"]\n'

# What may have no data, and why.
MAY_BE_EMPTY = {
    "process_memory_limit_bytes": "there where a control group limits memory",
    "geminate_certificate_expiry_timestamp_seconds": "no listener ends TLS yet",
}
# No key may be in these when it is asked: three cool for the model whose day is spent, the fourth is dead.
STATES_UNSEEN = {"usable", "trial", "off", "disabled"}

FAULTS_FOUND = []


def fault(text):
    """Notes what is wrong; the check goes on, and fails at its end."""
    FAULTS_FOUND.append(text)
    print(f"FAULT: {text}", flush=True)


def say(text):
    """A line of the report."""
    print(f"{time.monotonic() - BEGAN:5.1f} s  {text}", flush=True)


# --- what starts and ends -------------------------------------------------------------------------------------------


def tool(name):
    """The path of a program of Debian's package `prometheus`."""
    place = os.environ.get("PROMETHEUS_DIR")
    found = shutil.which(name, path=place) if place else shutil.which(name)
    if not found:
        sys.exit(f"{name} is needed: Debian's package prometheus has it (PROMETHEUS_DIR may say where it lies)")
    return found


def run(*command, **more):
    """Runs it to its end, and gives its code and what it said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False, **more)
    return done.returncode, done.stdout


@contextlib.contextmanager
def started(name, command, log, **more):
    """A process that is ended with all it started, however this is left."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **more)
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
    asked = urllib.request.Request(url, data=body and json.dumps(body).encode(), headers={"content-type": "application/json", **(headers or {})})
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


# --- what needs no running process ----------------------------------------------------------------------------------


def rules_stand():
    """promtool on everything, and what it does not look at: that each alarm is shown firing and silent, and explained."""
    promtool = tool("promtool")
    for what in (["check", "rules", "alerts.yml"], ["check", "config", "--syntax-only", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]):
        code, said = run(promtool, *what, cwd=HERE)
        if code != 0:
            fault(f"promtool {' '.join(what)}: {said}")
    rules = (HERE / "alerts.yml").read_text(encoding="utf-8")
    tests = (HERE / "alerts.test.yml").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/MONITORING.md").read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    alerts = re.split(r"^ +- alert: ", rules, flags=re.MULTILINE)[1:]
    expectations = re.findall(r"alertname: (\w+)\n(\s+exp_alerts:)?", tests)
    for text in alerts:
        name = text.split("\n", 1)[0].strip()
        for field in ("for: ", "severity: ", "summary: ", "runbook_url: "):
            if field not in text:
                fault(f"{name} has no {field.strip(' :')}")
        page, _, anchor = re.search(r"runbook_url: (\S+)", text).group(1).partition("#")
        if not (ROOT / page).exists() or anchor not in anchors:
            fault(f"{name}: {page} has no section #{anchor}")
        shown = {bool(firing) for alert, firing in expectations if alert == name}
        if shown != {True, False}:
            fault(f"{name} is not shown both firing and silent")
    say(f"promtool is content; {len(alerts)} alarms are tested both ways and explained")


def yaml_stands():
    """The structure of the YAML that nothing here runs: Compose's and Grafana's."""
    try:
        import yaml
    except ImportError:
        say("PyYAML is not here: compose.yaml and Grafana's provisioning were not read")
        return
    compose = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
    services = compose["services"]
    for name, service in services.items():
        wanted = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
        for field, value in wanted.items():
            if service.get(field) != value:
                fault(f"compose: {name} has {field} {service.get(field)!r}")
        if not re.search(r":v?\d+\.\d+\.\d+$", service["image"]):
            fault(f"compose: the image of {name} is not pinned: {service['image']}")
        if not service.get("healthcheck", {}).get("test"):
            fault(f"compose: {name} has no health check")
        for secret in service.get("secrets", []):
            if "file" not in compose["secrets"].get(secret, {}):
                fault(f"compose: the secret {secret} of {name} is no file")
        for other in service.get("depends_on", {}):
            if other not in services:
                fault(f"compose: {name} depends on {other}, which is not there")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not (source in compose["volumes"] or source.startswith("./") and (HERE / source).exists()):
                fault(f"compose: {name} mounts {source}, which is not there")
    environment = services["geminate"]["environment"]
    if not environment["ADMIN_TOKEN"].startswith("${ADMIN_TOKEN:?") or "GEMINI_API_KEY" in environment:
        fault("compose: geminate is published without a token, or has its keys in the environment")
    provisioning = HERE / "grafana/provisioning"
    sources = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    if sources[0]["url"].removeprefix("http://").split(":")[0] not in services:
        fault(f"Grafana is to ask {sources[0]['url']}, which compose does not start")
    provider = yaml.safe_load((provisioning / "dashboards/geminate.yml").read_text(encoding="utf-8"))["providers"][0]
    if not any(volume.split(":")[1].startswith(provider["options"]["path"]) for volume in services["grafana"]["volumes"]):
        fault("no dashboard is mounted where Grafana is to look for it")
    say(f"compose.yaml: {len(services)} services locked, pinned and watched; Grafana is given source and dashboard")


def unit_stands(geminate):
    """What systemd says of the unit, where it is here to say it."""
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        say("systemd-analyze is not here: the unit was not looked at")
        return
    with tempfile.TemporaryDirectory(prefix="geminate-unit-") as scratch:
        unit = pathlib.Path(scratch) / "geminate.service"
        text = (HERE / "geminate.service").read_text(encoding="utf-8")
        unit.write_text(text.replace("/usr/local/bin/geminate", geminate), encoding="utf-8")
        code, said = run(analyze, "verify", "--man=no", str(unit))
        if code != 0 or said.strip():
            fault(f"systemd-analyze verify: {said}")
        # Whole numbers of tenths: 1.1 at present. What is left is the network, which it is for.
        code, said = run(analyze, "security", "--offline=true", "--threshold=15", "--no-pager", str(unit))
        if code != 0:
            fault(f"systemd-analyze security: {said[-300:]}")
        score = re.search(r"exposure level for \S+: ([\d.]+)", said)
        say(f"the unit is one that systemd understands; exposure {score and score.group(1)}")


# --- the dashboard's queries ----------------------------------------------------------------------------------------

VARIABLES = {
    "$__rate_interval": "12s",
    "$__range": "30s",
    "$job": "geminate",
    "$instance": ".+",
    "$key": ".+",
    "$model": ".+",
}
SELECTOR = re.compile(r'([a-zA-Z_:][\w:]*)(\{[^{}]*\})')


def filled(text):
    """A query with the dashboard's variables filled in."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    if "$" in text:
        fault(f"the dashboard uses a variable that nobody knows: {text}")
    return text


def dashboard():
    """The dashboard's queries by title, and those of its variables."""
    board = json.loads((HERE / "grafana/geminate.json").read_text(encoding="utf-8"))
    if board["uid"] != "geminate" or board.get("id") is not None:
        fault("the dashboard has another uid, or an id of one Grafana")
    source = {"type": "prometheus", "uid": "${datasource}"}
    ids = [panel["id"] for panel in board["panels"]]
    if len(set(ids)) != len(ids):
        fault("two panels have one id")
    queries, labels = [], []
    for panel in board["panels"]:
        if panel["type"] != "row" and panel["datasource"] != source:
            fault(f"{panel['title']} has a data source of its own")
        if panel["type"] != "row" and not panel.get("description"):
            fault(f"{panel['title']} says nothing of itself")
        queries += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    queries += [("annotation", note["expr"]) for note in board["annotations"]["list"] if "expr" in note]
    defined = {variable["name"] for variable in board["templating"]["list"]}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            labels.append((variable["name"], variable["query"]["query"]))
    used = set(re.findall(r"\$(\w+)", " ".join(expr for _, expr in queries + labels))) - {"__rate_interval", "__range"}
    for name in used ^ (defined - {"datasource"}):
        fault(f"the dashboard's variable {name} is used and not defined, or defined and not used")
    return queries, labels


class Prometheus:
    """One that runs."""

    def __init__(self, port):
        self.origin = f"http://127.0.0.1:{port}"

    def api(self, path, **fields):
        """The data that an API's answer holds; None with a fault where it is an error."""
        status, body = ask(f"{self.origin}/api/v1/{path}?{urllib.parse.urlencode(fields, doseq=True)}")
        answer = json.loads(body) if body else {}
        if status != 200 or answer.get("status") != "success":
            fault(f"Prometheus on {path} {fields}: {status} {answer.get('error')}")
            return None
        return answer["data"]

    def query(self, expr):
        """The samples of an instant query."""
        data = self.api("query", query=expr)
        return data["result"] if data else []

    def is_up(self):
        """Whether it answers and has scraped geminate."""
        status, _ = ask(f"{self.origin}/-/ready")
        return status == 200 and bool(self.query('up{job="geminate"} == 1'))


def may_be_empty(name, matchers):
    """Whether a selector may have no data, for a reason that is written down."""
    state = re.search(r'state="(\w+)"', matchers)
    return name in MAY_BE_EMPTY or (name == "geminate_key_state" and state and state.group(1) in STATES_UNSEEN)


def dashboard_answers(prometheus):
    """Every query of the dashboard is valid and has data, and so has every series that it names."""
    queries, labels = dashboard()
    selectors = {}
    for title, expr in queries:
        expr = filled(expr)
        found = SELECTOR.findall(expr)
        names = {name for name, _ in found}
        if not names:
            fault(f"{title}: no series is named in {expr}")
        selectors.update({pair: title for pair in found})
        empty = not prometheus.query(expr)
        # An annotation marks what rarely happens.
        if empty and title != "annotation" and not names <= set(MAY_BE_EMPTY):
            fault(f"{title}: no data for {expr}")
        end = time.time()
        prometheus.api("query_range", query=expr, start=end - 10, end=end, step=2)
    for (name, matchers), title in selectors.items():
        if not may_be_empty(name, matchers) and not prometheus.query(name + matchers):
            fault(f"{title}: no series is {name}{matchers}")
    for variable, text in labels:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(text)).groups()
        if not prometheus.api(f"label/{label}/values", **{"match[]": series}):
            fault(f"the variable {variable} has no values: {text}")
    say(f"{len(queries)} queries, {len(selectors)} selectors and {len(labels)} variables of the dashboard have data")


def alerts_answer(prometheus):
    """The rules run without an error; those whose time has come are at least pending; each names series that exist."""
    groups = prometheus.api("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for rule in rules:
        if rule["health"] != "ok":
            fault(f"the rule {rule['name']}: {rule['health']} {rule.get('lastError')}")
    names = set(prometheus.api("label/__name__/values"))
    text = re.sub(r"^ *#.*$", "", (HERE / "alerts.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name in set(re.findall(r"\b(?:geminate|process)_[a-z_]+\b", text)) - set(MAY_BE_EMPTY) - names:
        fault(f"alerts.yml names {name}, which geminate does not have")
    states = {}
    for rule in rules:
        if rule["type"] == "alerting":
            states.setdefault(rule["name"], set()).add(rule["state"])
    for name in ("GeminateKeyDead", "GeminateErrors", "GeminateDayNearlySpent"):
        if not states.get(name, set()) & {"pending", "firing"}:
            fault(f"{name} is {states.get(name)} although its time has come")
    for name in ("GeminateDown", "GeminateNoUsableKey", "GeminateMemory", "GeminateCertificateExpires"):
        if states.get(name) != {"inactive"}:
            fault(f"{name} is {states.get(name)} although all is well")
    say(f"{len(rules)} rules run on real series; dead key, spent day and failed requests are seen")


# --- the world of the check -----------------------------------------------------------------------------------------


def prompt(text, **more):
    """A body that asks for an answer."""
    return {"contents": [{"parts": [{"text": text}]}], **more}


def load(data, seconds):
    """Traffic of every kind: answers, streams, callers' errors, refusals, broken streams, spent and dead keys."""
    gemini, openai = f"{data}/v1beta/models", f"{data}/v1/chat/completions"
    own, end = {"x-goog-api-key": TOKEN}, time.monotonic() + seconds
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    kinds = [
        lambda n: ask(f"{gemini}/{MODEL}:generateContent", prompt(f"question {n}"), own),
        lambda n: ask(f"{gemini}/{MODEL}:streamGenerateContent?alt=sse", prompt(f"question {n}"), own),
        lambda n: ask(f"{gemini}/{LITE}:streamGenerateContent?alt=sse", prompt(f"question {n}"), own),
        lambda n: ask(f"{gemini}/{SPENT}:generateContent", prompt(f"question {n}"), own),
        lambda n: ask(f"{gemini}/{FALLEN}:generateContent", prompt(f"question {n}"), own),
        lambda n: ask(openai, chat, {"authorization": f"Bearer {TOKEN}"}),
        lambda n: ask(f"{gemini}/{MODEL}:countTokens", prompt("the same"), own),
        lambda n: ask(f"{gemini}/made-up:generateContent", prompt(f"question {n}"), own),
        lambda n: ask(f"{gemini}/{MODEL}:generateContent", prompt("who am I"), {"x-goog-api-key": "fake-nobody"}),
    ]
    turns, statuses = itertools.count(), []

    def client():
        for n in itertools.takewhile(lambda n: n < LOAD_REQUESTS_MAX and time.monotonic() < end, turns):
            statuses.append(kinds[n % len(kinds)](n)[0])
            time.sleep(0.05)

    def one_of_many():
        statuses.append(ask(f"{gemini}/{SLOW}:generateContent", prompt("hello"), own)[0])

    with concurrent.futures.ThreadPoolExecutor(CROWD + 4) as clients:
        running = [clients.submit(one_of_many) for _ in range(CROWD)] + [clients.submit(client) for _ in range(4)]
        for done in running:
            done.result()
    return collections.Counter(statuses)


def for_the_check(text, *changes):
    """A shipped file with a few places made fit for this machine; each place must be there once."""
    for old, new in changes:
        if text.count(old) != 1:
            fault(f"prometheus.yml has {text.count(old)} times {old!r}")
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def gateway(geminate, scratch):
    """The mock, and geminate before it; gives the origins of the data and the admin listener and of the mock."""
    logs = {name: scratch / f"{name}.log" for name in ("mock", "geminate")}
    known = [argument for key in KEYS[:3] for argument in ("--key", key)]
    faults = [argument for script in FAULTS for argument in ("--fault", script)]
    command = [geminate, "mock", "--listen", "127.0.0.1:0", "--latency-ms", "20", *known, *faults]
    with contextlib.ExitStack() as house:
        house.enter_context(started("the mock", command, logs["mock"], cwd=scratch, env=clean()))
        (mock,) = until("the mock", lambda: heard(logs["mock"], r"listens at (http://\S+)"))
        status, _ = ask(f"{mock}/mock/quota", {"project": KEYS[2], "model": MODEL, "quota": {"rpd": 5}})
        if status // 100 != 2:
            fault(f"the mock takes no quota: {status}")
        (scratch / "config.toml").write_text(CONFIG, encoding="utf-8")
        settings = clean(
            GEMINI_API_KEY=f"{KEYS[0]}:10,{KEYS[1]}:5,{KEYS[2]}:5,{KEYS[3]}:2",
            GEMINI_BASE_URL=mock,
            AUTH_TOKEN=TOKEN,
            PORT="0",
            ADMIN_PORT="0",
            ENABLE_CACHING="true",
            LOG_FORMAT="json",
            MAX_CONCURRENT_REQUESTS=str(PLACES),
            GEMINATE__ADMIT__QUEUE_WAIT_MS="200",
            GEMINATE__POOL__MAX_WAIT_MS="200",
            GEMINATE__RETRY__HEDGE="true",
            DATA_DIR=str(scratch / "data"),
        )
        house.enter_context(started("geminate", [geminate], logs["geminate"], cwd=scratch, env=settings))
        data, admin = until("geminate", lambda: heard(logs["geminate"], r'"data":"(\S+?)","admin":"(\S+?)"'))
        yield f"http://{data}", admin, mock
        if any(key in tail(logs["geminate"]) for key in KEYS):
            fault("a key stands in geminate's log")


@contextlib.contextmanager
def watcher(scratch, admin):
    """Prometheus with the shipped configuration, but for the target, the token and how often it looks."""
    (scratch / "alerts.yml").write_bytes((HERE / "alerts.yml").read_bytes())
    token = scratch / "admin-token"
    token.write_text("fake-token-admin", encoding="utf-8")
    config = for_the_check(
        (HERE / "prometheus.yml").read_text(encoding="utf-8"),
        ('targets: ["geminate:9090"]', f'targets: ["{admin}"]'),
        ("credentials_file: /run/secrets/admin-token", f"credentials_file: {token}"),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
    )
    (scratch / "prometheus.yml").write_text(config, encoding="utf-8")
    code, said = run(tool("promtool"), "check", "config", str(scratch / "prometheus.yml"))
    if code != 0:
        fault(f"promtool check config: {said}")
    port, log = free_port(), scratch / "prometheus.log"
    command = [
        tool("prometheus"),
        f"--config.file={scratch / 'prometheus.yml'}",
        f"--storage.tsdb.path={scratch / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with started("Prometheus", command, log, cwd=scratch, env=clean()):
        prometheus = Prometheus(port)
        until("Prometheus", prometheus.is_up)
        yield prometheus


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
            dashboard_answers(prometheus)
            alerts_answer(prometheus)


# --- from nothing to an answer --------------------------------------------------------------------------------------


def answered(data, model, token="any"):
    """Whether a question is answered."""
    status, body = ask(f"http://{data}/v1beta/models/{model}:generateContent", prompt("hello"), {"x-goog-api-key": token})
    return status == 200 and b"candidates" in body


def quickstart_demo(geminate, scratch):
    """`--demo`: a first answered request without a key and without a question."""
    log = scratch / "demo.log"
    command = [str(ROOT / "script/quickstart"), "--demo", "--binary", geminate]
    with started("quickstart --demo", command, log, cwd=scratch, env=clean(PORT="0", ADMIN_PORT="0")):
        (data,) = until("the demo", lambda: heard(log, r"curl http://(127\.0\.0\.1:\d+)/v1beta"))
        # One key in three is flaky; the gateway is there to hide it.
        if not answered(data, MODEL):
            fault(f"the demo of quickstart does not answer: {tail(log)}")
    if list(scratch.glob("**/keys")):
        fault("the demo left a key behind")


def quickstart_serves(geminate, scratch):
    """With a key: it is kept for its owner alone and never shown, and a second run needs it no more."""
    home, log, mock_log = scratch / "home", scratch / "serve.log", scratch / "mock.log"
    secret = KEYS[0]
    script = [str(ROOT / "script/quickstart"), "--binary", geminate, "--foreground", "--dir", str(home)]
    with started("the mock", [geminate, "mock", "--listen", "127.0.0.1:0", "--key", secret], mock_log, cwd=scratch, env=clean()):
        (mock,) = until("the mock", lambda: heard(mock_log, r"listens at (http://\S+)"))
        settings = clean(PORT="0", ADMIN_PORT="0", GEMINI_BASE_URL=mock, LOG_FORMAT="json")
        code, said = run(*script, env=settings, stdin=subprocess.DEVNULL)
        if code == 0 or "GEMINI_API_KEY" not in said:
            fault(f"quickstart without a key and without a terminal: {code} {said}")
        for turn, key in enumerate(({"GEMINI_API_KEY": secret}, {})):
            with started("quickstart", script, log, cwd=scratch, env={**settings, **key}) as process:
                (data,) = until("quickstart", lambda: heard(log, r'"data":"(\S+?)"'))
                if not answered(data, MODEL):
                    fault(f"quickstart does not answer in run {turn + 1}: {tail(log)}")
                environment = pathlib.Path(f"/proc/{process.pid}/environ")
                if environment.exists() and secret.encode() in environment.read_bytes() and turn == 1:
                    fault("quickstart hands the key on in the environment")
            said = log.read_text(encoding="utf-8", errors="replace")
            if secret in said or "curl http" not in said:
                fault("quickstart shows the key, or no curl to try")
        files = [path for path in home.glob("**/*") if path.is_file() and secret.encode() in path.read_bytes()]
        if [path.name for path in files] != ["keys"] or files[0].stat().st_mode & 0o077:
            fault(f"the key is not in one file for its owner alone: {files}")


def quickstart_stands(geminate):
    """The script, run by hand as it were."""
    code, said = run(str(ROOT / "script/quickstart"), "--help")
    if code != 0 or "--demo" not in said:
        fault(f"quickstart --help: {code} {said}")
    code, said = run(str(ROOT / "script/quickstart"), "--no-such-thing")
    if code == 0 or "--no-such-thing" not in said:
        fault(f"quickstart takes what it does not know: {code} {said}")
    for part in (quickstart_demo, quickstart_serves):
        with tempfile.TemporaryDirectory(prefix="geminate-quickstart-") as scratch:
            part(geminate, pathlib.Path(scratch))
    say("quickstart comes to an answer with the mock and with a key, which it keeps to itself")


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
    say(f"{len(FAULTS_FOUND)} faults")
    return 1 if FAULTS_FOUND else 0


BEGAN = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
