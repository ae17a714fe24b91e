"""The world of the check: the mock, geminate before it, traffic of every kind, and Prometheus over it."""

import collections
import concurrent.futures
import contextlib
import itertools
import json
import time
import urllib.parse

from checks.ground import DEPLOY, ask, clean, fault, free_port, heard, prompt, run, started, tail, tool, until

# The keys of the check: names, not secrets. The last one is known to nobody.
KEYS = ["fake-key-0001", "fake-key-0002", "fake-key-0003", "fake-key-0004"]
TOKEN = "fake-token-operator"
MODEL, LITE, SPENT, FALLEN = "gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-3.1-pro-preview", "gemini-3.5-flash"
SLOW = "gemini-2.5-flash"
LOAD_SECONDS, LOAD_REQUESTS_MAX = 14, 1500
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
    known = [argument for key in (*KEYS[:2], f"{KEYS[2]}@small") for argument in ("--key", key)]
    faults = [argument for script in FAULTS for argument in ("--fault", script)]
    command = [geminate, "mock", "--listen", "127.0.0.1:0", "--latency-ms", "20", *known, *faults]
    with contextlib.ExitStack() as house:
        house.enter_context(started("the mock", command, logs["mock"], cwd=scratch, env=clean()))
        (mock,) = until("the mock", lambda: heard(logs["mock"], r"listens at (http://\S+)"))
        status, _ = ask(f"{mock}/mock/quota", {"project": "small", "model": MODEL, "quota": {"rpd": 5}})
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
    (scratch / "alerts.yml").write_bytes((DEPLOY / "alerts.yml").read_bytes())
    token = scratch / "admin-token"
    token.write_text("fake-token-admin", encoding="utf-8")
    config = for_the_check(
        (DEPLOY / "prometheus.yml").read_text(encoding="utf-8"),
        ('targets: ["geminate:9090"]', f'targets: ["{admin}"]'),
        ("credentials_file: /run/secrets/admin-token", f"credentials_file: {token}"),
        ("scrape_interval: 15s", "scrape_interval: 2s"),
        ("evaluation_interval: 15s", "evaluation_interval: 2s"),
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
