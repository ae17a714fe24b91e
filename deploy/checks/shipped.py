"""The files as they are, before anything runs: promtool's, systemd's and YAML's word on them."""

import pathlib
import re
import shutil
import tempfile

from checks.ground import DEPLOY, ROOT, fault, run, say, tool


def rules_stand():
    """promtool on everything, and what it does not look at: that each alarm is shown firing and silent, and explained."""
    promtool = tool("promtool")
    for what in (
        ["check", "rules", "alerts.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["test", "rules", "alerts.test.yml"],
    ):
        code, said = run(promtool, *what, cwd=DEPLOY)
        if code != 0:
            fault(f"promtool {' '.join(what)}: {said}")
    rules = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
    tests = (DEPLOY / "alerts.test.yml").read_text(encoding="utf-8")
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
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
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
            if not (source in compose["volumes"] or source.startswith("./") and (DEPLOY / source).exists()):
                fault(f"compose: {name} mounts {source}, which is not there")
    environment = services["geminate"]["environment"]
    if not environment["ADMIN_TOKEN"].startswith("${ADMIN_TOKEN:?") or "GEMINI_API_KEY" in environment:
        fault("compose: geminate is published without a token, or has its keys in the environment")
    provisioning = DEPLOY / "grafana/provisioning"
    sources = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    if sources[0]["url"].removeprefix("http://").split(":")[0] not in services:
        fault(f"Grafana is to ask {sources[0]['url']}, which compose does not start")
    provider = yaml.safe_load((provisioning / "dashboards/geminate.yml").read_text(encoding="utf-8"))["providers"][0]
    if not any(
        volume.split(":")[1].startswith(provider["options"]["path"]) for volume in services["grafana"]["volumes"]
    ):
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
        text = (DEPLOY / "geminate.service").read_text(encoding="utf-8")
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
