"""A pool of three keys in three projects, all of them alive: what lives in one project is found there."""

import collections
import json
import re
import urllib.parse

from town import ask, town

KEYS = {project: f"AIzaSy-of-the-project-{project}-0123456789-{project[:4]}" for project in ("ares", "bora", "cato")}
FRAMES = 6
CLIENTS = (
    "python_genai.py", "python_live.py", "python_openai.py", "python_langchain.py", "python_litellm.py",
    "js_genai.mjs", "js_openai.mjs", "js_ai_sdk.mjs", "cli_gemini.py",
)
# Those that come again when one project has nothing left for the day.
FRUGAL = ("python_openai.py", "js_openai.mjs", "cli_gemini.py")
SPENT_SCRIPTS = [
    f"project=bora action={action} fault=quota_day"
    for action in ("generateContent", "streamGenerateContent", "chat", "embeddings")
]
MODEL = "gemini-3.8-flash"

# What lives in one project, wherever a call names it: in its path, or in the first 64 KiB of its body. OpenAI's paths
# name a collection twice.
NAMED = re.compile(r"(?:files|cachedContents|batches|fileSearchStores|interactions)/(?!files/|batches/)[A-Za-z0-9_-]+"
                   r"|models/[^/\"?]+/operations/[A-Za-z0-9_-]+|(?<=\"previous_interaction_id\":\")[A-Za-z0-9_-]+")


def token(name):
    """Each client has a credential of its own."""
    return f"token-of-{name.replace('.', '-').replace('_', '-')}"


def seed(mock, key):
    """A file, a cache and a batch that a project has before anybody comes, made with its own key."""
    head = {"x-goog-api-key": key, "Content-Type": "text/plain", "X-Goog-Upload-Protocol": "raw"}
    file = ask(f"{mock}/upload/v1beta/files", f"a file of {key[-4:]}", **head)["file"]
    head = {"x-goog-api-key": key, "Content-Type": "application/json"}
    contents = [{"role": "user", "parts": [{"text": "a long text"}]}]
    cache = ask(f"{mock}/v1beta/cachedContents", json.dumps({"model": f"models/{MODEL}", "contents": contents}), **head)
    requests = {"requests": {"requests": [{"request": {"contents": contents}}]}}
    batch = ask(f"{mock}/v1beta/models/{MODEL}:batchGenerateContent",
                json.dumps({"batch": {"displayName": "seed", "inputConfig": requests}}), **head)
    return {"file": file["name"], "cache": cache["name"], "batch": batch["name"]}


def names(call):
    """What a call names that lives in one project."""
    text = urllib.parse.unquote(call["path"]) + " " + call["body"].replace('": "', '":"')
    return {found if "/" in found else f"interactions/{found}" for found in NAMED.findall(text)}


def owners(place, name, calls, seeds):
    """Holds that each call for a resource was answered by the project that owns it, and that no other was asked.

    Whose the seeds are is for geminate to find out, and what is gone may be anybody's.
    """
    homes = collections.defaultdict(set)
    gone, strays = set(seeds), []
    for call in calls:
        for resource in names(call):
            if call["status"] < 400:
                homes[resource].add(call["project"])
                if call["method"] == "DELETE":
                    gone.add(resource)
            elif resource not in gone and call["project"] not in homes[resource]:
                strays.append((call["method"], call["path"], call["project"], call["status"]))
    several = {resource: sorted(found) for resource, found in homes.items() if len(found) > 1}
    place.tally.check(f"{name}: what {len(homes)} resources were named for went to their owners", not several, several)
    place.tally.check(f"{name}: no other project was asked for them", not strays, strays)


def look_back(place, calls):
    """What Google and the operator saw of all this."""
    place.one_credential(calls, KEYS.values())
    made = collections.Counter(call["project"] for call in calls if call["action"] in ("generateContent", "chat"))
    place.tally.check("every project had its part", set(made) == set(KEYS), made)
    states = {name: key["state"] for name, key in place.keys(token(CLIENTS[0])).items()}
    place.tally.check("every key serves", set(states.values()) == {"usable"}, states)


def visit(place, names_of_clients, seeds):
    """Every client tells its story; the calls that Google saw."""
    everything = []
    known = {name for one in seeds for name in one.values()}
    surroundings = {"SEEDS": json.dumps(seeds), "MOCK_FRAMES": str(FRAMES), "MOCK_FRAME_PAUSE_S": "0"}
    for name in names_of_clients:
        since = max((call["id"] for call in place.calls()), default=0)
        place.play(f"projects/{name}", token(name), **surroundings)
        calls = place.calls(since)
        owners(place, name, calls, known)
        everything += calls
    return everything


def found(place):
    """A town of three projects."""
    tokens = [token(name) for name in CLIENTS]
    place.found(list(KEYS.values()), tokens, f"--chunks={FRAMES}",
                known=[f"{key}@{project}" for project, key in KEYS.items()])


def scenario(tally):
    """All that clients do with resources, and then with one project whose day is over."""
    with town(tally, "three projects") as place:
        found(place)
        place.raise_tls()
        seeds = [seed(place.mock, key) for key in KEYS.values()]
        look_back(place, visit(place, CLIENTS, seeds))
    with town(tally, "three projects, one of them spent for the day") as place:
        found(place)
        ask(f"{place.mock}/mock/script", json.dumps(SPENT_SCRIPTS))
        calls = visit(place, FRUGAL, [])
        place.one_credential(calls, KEYS.values())
        refused = [call for call in calls if call["project"] == "bora" and call["status"] == 429]
        tally.check("the spent project was hardly asked", 0 < len(refused) <= 8, len(refused))
