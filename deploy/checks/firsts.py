"""From nothing to a first answer, as script/quickstart leads there."""

import pathlib
import subprocess
import tempfile

from checks.ground import ROOT, ask, clean, fault, heard, prompt, run, say, started, tail, until
from checks.world import KEYS, MODEL


def answered(data, model, token="any"):
    """Whether a question is answered."""
    status, body = ask(
        f"http://{data}/v1beta/models/{model}:generateContent", prompt("hello"), {"x-goog-api-key": token}
    )
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
    with started(
        "the mock", [geminate, "mock", "--listen", "127.0.0.1:0", "--key", secret], mock_log, cwd=scratch, env=clean()
    ):
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
