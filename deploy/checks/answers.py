"""What Prometheus answers to the queries of the dashboard and of the alarms."""

import json
import re
import time

from checks.ground import DEPLOY, ROOT, fault, say

# What may have no data, and why.
MAY_BE_EMPTY = {
    "process_memory_limit_bytes": "there where a control group limits memory",
    "geminate_certificate_expiry_timestamp_seconds": "no listener ends TLS yet",
}
# No key may be in these when it is asked: three cool for the model whose day is spent, the fourth is dead.
STATES_UNSEEN = {"usable", "trial", "off", "disabled"}

VARIABLES = {
    "$__rate_interval": "12s",
    "$__range": "30s",
    "$job": "geminate",
    "$instance": ".+",
    "$key": ".+",
    "$model": ".+",
}
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)(\{[^{}]*\})")


def filled(text):
    """A query with the dashboard's variables filled in."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    if "$" in text:
        fault(f"the dashboard uses a variable that nobody knows: {text}")
    return text


def dashboard():
    """The dashboard's queries by title, and those of its variables."""
    board = json.loads((DEPLOY / "grafana/geminate.json").read_text(encoding="utf-8"))
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
    text = re.sub(r"^ *#.*$", "", (DEPLOY / "alerts.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name in set(re.findall(r"\b(?:geminate|process)_[a-z_]+\b", text)) - set(MAY_BE_EMPTY) - names:
        fault(f"alerts.yml names {name}, which geminate does not have")
    states = {}
    for rule in (rule for rule in rules if rule["type"] == "alerting"):
        states.setdefault(rule["name"], set()).add(rule["state"])
    for name in ("GeminateKeyDead", "GeminateErrors", "GeminateDayNearlySpent"):
        if not states.get(name, set()) & {"pending", "firing"}:
            fault(f"{name} is {states.get(name)} although its time has come")
    for name in ("GeminateDown", "GeminateNoUsableKey", "GeminateMemory", "GeminateCertificateExpires"):
        if states.get(name) != {"inactive"}:
            fault(f"{name} is {states.get(name)} although all is well")
    say(f"{len(rules)} rules run on real series; dead key, spent day and failed requests are seen")


def metrics_are_explained(page):
    """Every metric that geminate has stands in the documentation, and has a help text."""
    documented = (ROOT / "docs/MONITORING.md").read_text(encoding="utf-8")
    names = set(re.findall(r"^# TYPE (geminate_\w+) ", page, re.MULTILINE))
    for name in sorted(names):
        if f"`{name}`" not in documented:
            fault(f"docs/MONITORING.md does not have {name}")
        if not re.search(rf"^# HELP {name} \S", page, re.MULTILINE):
            fault(f"{name} has no help")
    say(f"{len(names)} metrics are explained")
