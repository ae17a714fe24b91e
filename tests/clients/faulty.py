"""A pool of three keys of which one is dead, one has spent its day's quota, and one fails now and then."""

import json

from town import ask, town

DEAD, SPENT, FLAKY = (f"AIzaSy-of-the-clients-test-{name}-0123456789" for name in ("dead", "spent", "flaky"))
TOKEN = "token-of-the-clients-test"
FRAMES, FRAME_PAUSE_MS = 6, 50

# The first script that matches a call plays. The flaky key's faults below come back for every client.
SPENT_SCRIPTS = [
    f"key={SPENT} action={action} fault=quota_day"
    for action in ("generateContent", "streamGenerateContent", "batchEmbedContents", "chat", "embeddings")
]
FLAKY_SCRIPTS = {
    "genai": [
        f"key={FLAKY} action=generateContent times=1 fault=overloaded",
        f"key={FLAKY} action=streamGenerateContent times=1 fault=internal",
        f"key={FLAKY} action=streamGenerateContent skip=1 fault=split:61",
        f"key={FLAKY} action=batchEmbedContents times=1 fault=reset:head",
        # Neither costs quota: the spent key may be asked as well.
        "action=countTokens times=1 fault=html_502",
        "action=models times=1 fault=cut:head",
    ],
    "openai": [
        f"key={FLAKY} action=chat times=1 fault=internal",
        f"key={FLAKY} action=embeddings times=1 fault=reset:head",
        "action=models times=1 fault=html_502",
    ],
}
CLIENTS = ("python_genai.py", "python_openai.py", "js_genai.mjs", "js_openai.mjs")


def play(place, name):
    """One client's program, with the flaky key's faults laid out anew; the calls that Google saw."""
    faults = FLAKY_SCRIPTS["genai" if "genai" in name else "openai"]
    ask(f"{place.mock}/mock/reset", "{}")
    ask(f"{place.mock}/mock/script", json.dumps(SPENT_SCRIPTS + faults))
    place.play(f"faults/{name}", TOKEN, MOCK_FRAMES=str(FRAMES), MOCK_FRAME_PAUSE_S=str(FRAME_PAUSE_MS / 1000))
    calls = place.calls()
    met = {call["script"] for call in calls if call["script"]} - set(SPENT_SCRIPTS)
    place.tally.check(f"{name} met all {len(faults)} faults of the flaky key", len(met) == len(faults), sorted(met))
    return calls


def look_back(place, calls):
    """What the operator and Google saw of all this."""
    tally, keys = place.tally, place.keys(TOKEN)
    states = {name: (key["state"], key["reason"]) for name, key in keys.items()}
    tally.check("the first key is dead", states["1"][0] == "dead", states)
    resting = {rest["reason"] for rest in keys["2"]["cooling"]}
    tally.check("the second key is cooling for its day's quota",
                states["2"][0] == "cooling" and "quota_day" in resting, (states, sorted(resting)))
    tally.check("the third key serves", states["3"][0] == "usable", states)
    refused = keys["1"]["attempts"], keys["2"]["outcomes"].get("quota_day", 0)
    tally.check("what is known to refuse is hardly asked", refused[0] <= 2 and refused[1] <= 6, refused)
    counts = ask(f"{place.monitor}/monitor/metrics", Authorization=f"Bearer {TOKEN}")
    tally.check(f"all of {counts['requests']} requests ended well",
                counts["requests"] == counts["outcomes"]["ok"] > 0, counts["outcomes"])
    place.one_credential(calls, (DEAD, SPENT, FLAKY))


def scenario(tally):
    """Every client tells its story; none may see an error."""
    with town(tally, "a dead key, a spent one and a flaky one") as place:
        pace = [f"--chunks={FRAMES}", f"--chunk-interval-ms={FRAME_PAUSE_MS}"]
        place.found([f"{DEAD}:10", f"{SPENT}:8", f"{FLAKY}:5"], [TOKEN], *pace,
                    known=[f"{SPENT}@spent", f"{FLAKY}@flaky"])
        look_back(place, [call for name in CLIENTS for call in play(place, name)])
