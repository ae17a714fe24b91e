"""The Gemini CLI without a terminal, among three projects: in a home of its own, told to report to nobody."""

import json
import os
import pathlib
import subprocess
import tempfile

from steps import MODEL, TOKEN, URL, equal, hold, run

CLI = pathlib.Path(__file__).resolve().parent.parent / "node_modules/@google/gemini-cli/bundle/gemini.js"
NODE = os.environ.get("NODE", "node")
SETTINGS = {
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "security": {"auth": {"selectedType": "gemini-api-key"}},
}


def ask(*arguments, **more):
    """What the CLI prints when it is asked something; it must end well."""
    with tempfile.TemporaryDirectory(prefix="geminate-cli-") as home:
        folder = pathlib.Path(home, ".gemini")
        work = pathlib.Path(home, "work")
        folder.mkdir()
        work.mkdir()
        (folder / "settings.json").write_text(json.dumps(SETTINGS))
        surroundings = {
            "PATH": os.environ["PATH"], "HOME": home, "NO_COLOR": "1", "GEMINI_API_KEY": TOKEN,
            "GOOGLE_GEMINI_BASE_URL": URL, "GEMINI_TELEMETRY_ENABLED": "false", **more,
        }
        done = subprocess.run(
            [NODE, str(CLI), "--skip-trust", "--model", MODEL, *arguments], cwd=work, env=surroundings,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    hold(done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def answered(text):
    """An answer that ends with the end of the prompt, as the mock answers; what the CLI puts before it is its own."""
    hold(text.startswith("You said:"), text)


def an_answer_in_text():
    answered(ask("--prompt", "hello there").strip())


def an_answer_in_json():
    told = json.loads(ask("--prompt", "hello there", "--output-format", "json"))
    answered(told["response"])
    api = told["stats"]["models"][MODEL]["api"]
    hold(api["totalRequests"] >= 1 and api["totalErrors"] == 0, api)


def an_answer_in_a_stream_of_events():
    # In this mode it sends the key as a bearer's and in Google's own header together.
    text = ask("--prompt", "hello there", "--output-format", "stream-json", GEMINI_API_KEY_AUTH_MECHANISM="bearer")
    lines = [json.loads(line) for line in text.splitlines()]
    kinds = [line["type"] for line in lines]
    equal((kinds[0], kinds[-1], lines[-1]["status"]), ("init", "result", "success"))
    answered("".join(line["content"] for line in lines if line["type"] == "message" and line["role"] == "assistant"))


run("Gemini CLI", an_answer_in_text, an_answer_in_json, an_answer_in_a_stream_of_events)
