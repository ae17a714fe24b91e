"""google-genai for Python among three projects: what it makes, it names, lists and takes away again."""

import asyncio
import io
import json

from google import genai
from google.genai import errors, types
from google.genai._interactions import APIStatusError
from pydantic import BaseModel
from steps import EMBEDDER, MODEL, PAINTER, SEEDS, TOKEN, URL, equal, hold, run

client = genai.Client(api_key=TOKEN, http_options={"base_url": URL})
LARGE = 20 << 20


class City(BaseModel):
    """What an answer is to keep to."""

    name: str
    people: int
    districts: list[str]


def upload(text, mime_type="text/plain"):
    """A small file of the client's own."""
    config = {"mime_type": mime_type, "display_name": text[:20]}
    return client.files.upload(file=io.BytesIO(text.encode()), config=config)


def refused(code, action, *parts):
    """Holds that an action is refused, in words that hold all the parts."""
    try:
        found = action()
    except (errors.APIError, APIStatusError) as error:
        equal(getattr(error, "code", None) or error.status_code, code)
        for part in parts:
            hold(part in str(error), f"{part} is not in: {error}")
    else:
        raise AssertionError(f"not refused: {found!r}")


def a_file_from_beginning_to_end():
    file = upload("a small file")
    equal((file.state.name, file.size_bytes, file.mime_type), ("ACTIVE", 12, "text/plain"))
    equal(client.files.get(name=file.name).uri, file.uri)
    hold(file.name in [one.name for one in client.files.list(config={"page_size": 2})], "the file is not listed")
    answer = client.models.generate_content(model=MODEL, contents=[file, "what is in it?"])
    equal(answer.text, "You said: what is in it?")
    hold(answer.usage_metadata.prompt_token_count > 258, f"the file was not counted: {answer.usage_metadata}")
    said = "".join(chunk.text for chunk in client.models.generate_content_stream(model=MODEL, contents=[file, "and?"]))
    equal(said, "You said: and?")
    counted = client.models.count_tokens(model=MODEL, contents=[file, "how much?"])
    hold(counted.total_tokens > 258, f"the file was not counted: {counted}")
    client.files.delete(name=file.name)
    refused(403, lambda: client.files.get(name=file.name))


def a_file_of_twenty_megabytes():
    file = client.files.upload(file=io.BytesIO(b"0123456789abcdef" * (LARGE // 16)), config={"mime_type": "video/mp4"})
    equal((file.state.name, file.size_bytes), ("ACTIVE", LARGE))
    equal(client.models.generate_content(model=MODEL, contents=[file, "long?"]).text, "You said: long?")
    client.files.delete(name=file.name)


def uploads_at_once():
    async def one(number):
        text = f"number {number} of eight"
        file = await client.aio.files.upload(file=io.BytesIO(text.encode()), config={"mime_type": "text/plain"})
        answer = await client.aio.models.generate_content(model=MODEL, contents=[file, text])
        equal(answer.text, f"You said: {text}")
        return file

    async def all_of_them():
        return await asyncio.gather(*(one(number) for number in range(8)))

    files = asyncio.run(all_of_them())
    equal(client.models.generate_content(model=MODEL, contents=[*files, "all"]).text, "You said: all")


def two_files_in_one_prompt():
    first, second = upload("one of two"), upload("two of two")
    equal(client.models.generate_content(model=MODEL, contents=[first, second, "both"]).text, "You said: both")


def files_of_every_project():
    names = [one.name for one in client.files.list(config={"page_size": 1})]
    equal(len(names), len(set(names)))
    for seed in SEEDS:
        hold(seed["file"] in names, f"{seed['file']} is not in {names}")
        file = client.files.get(name=seed["file"])
        equal(client.models.generate_content(model=MODEL, contents=[file, "seed"]).text, "You said: seed")
    two = [client.files.get(name=seed["file"]) for seed in SEEDS[:2]]
    both = [*two, "both"]
    refused(400, lambda: client.models.generate_content(model=MODEL, contents=both), *(one.name for one in two))


def a_cache_from_beginning_to_end():
    file = upload("a file for a cache")
    config = {"contents": [file, "a long text"], "system_instruction": "be brief", "ttl": "600s"}
    cache = client.caches.create(model=MODEL, config=config)
    hold(cache.usage_metadata.total_token_count > 258, f"the file was not counted: {cache}")
    for _ in range(3):
        answer = client.models.generate_content(model=MODEL, contents="next", config={"cached_content": cache.name})
        equal(answer.text, "You said: next")
        equal(answer.usage_metadata.cached_content_token_count, cache.usage_metadata.total_token_count)
    longer = client.caches.update(name=cache.name, config={"ttl": "7200s"})
    hold(longer.expire_time > cache.expire_time, f"{longer.expire_time} is not after {cache.expire_time}")
    equal(client.caches.get(name=cache.name).expire_time, longer.expire_time)
    names = [one.name for one in client.caches.list(config={"page_size": 1})]
    for name in [cache.name, *(seed["cache"] for seed in SEEDS)]:
        hold(name in names, f"{name} is not in {names}")
    client.caches.delete(name=cache.name)
    refused(403, lambda: client.caches.get(name=cache.name))


def a_batch_of_inlined_prompts():
    prompts = [{"contents": [{"parts": [{"text": f"prompt {number}"}], "role": "user"}]} for number in range(3)]
    batch = client.batches.create(model=MODEL, src=prompts, config={"display_name": "mine"})
    hold(batch.name in [one.name for one in client.batches.list(config={"page_size": 2})], "the batch is not listed")
    done = client.batches.get(name=batch.name)
    equal(done.state.name, "JOB_STATE_SUCCEEDED")
    texts = [one.response.text for one in done.dest.inlined_responses]
    equal(texts, [f"You said: prompt {number}" for number in range(3)])
    client.batches.delete(name=batch.name)
    refused(404, lambda: client.batches.get(name=batch.name))


def a_batch_by_file():
    lines = [{"key": f"k{number}", "request": {"contents": [{"parts": [{"text": f"line {number}"}]}]}}
             for number in range(3)]
    file = upload("".join(json.dumps(line) + "\n" for line in lines), "application/jsonl")
    batch = client.batches.create(model=MODEL, src=file.name)
    done = client.batches.get(name=batch.name)
    results = client.files.download(file=done.dest.file_name).decode().splitlines()
    equal([json.loads(line)["key"] for line in results], ["k0", "k1", "k2"])
    hold("You said: line 2" in results[2], results[2])


def a_batch_that_is_cancelled():
    batch = client.batches.create(model=MODEL, src=[{"contents": [{"parts": [{"text": "never"}]}]}])
    client.batches.cancel(name=batch.name)
    equal(client.batches.get(name=batch.name).state.name, "JOB_STATE_CANCELLED")


def a_store_to_search():
    store = client.file_search_stores.create(config={"display_name": "store"})
    operation = client.file_search_stores.upload_to_file_search_store(
        file_search_store_name=store.name, file=io.BytesIO(b"a document"), config={"mime_type": "text/plain"})
    while not operation.done:
        operation = client.operations.get(operation)
    hold(operation.response.document_name.startswith(store.name), operation)
    search = types.Tool(file_search=types.FileSearch(file_search_store_names=[store.name]))
    answer = client.models.generate_content(model=MODEL, contents="search", config={"tools": [search]})
    equal(answer.text, "You said: search")
    equal(len(list(client.file_search_stores.documents.list(parent=store.name))), 1)
    client.file_search_stores.delete(name=store.name, config={"force": True})


def a_picture_that_is_painted():
    config = {"response_modalities": ["IMAGE"]}
    answer = client.models.generate_content(model=PAINTER, contents="a cat", config=config)
    (picture,) = [part.inline_data for part in answer.parts if part.inline_data]
    hold(picture.data.startswith(b"\x89PNG"), "no picture")


def a_chat_that_calls_functions():
    asked = []

    def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "rain"

    chat = client.chats.create(model=MODEL, config={"tools": [weather]})
    answer = chat.send_message("how is the weather?")
    equal(asked, ["text"])
    hold(answer.text.startswith("You said: "), answer.text)
    kinds = [bool(part.function_call) for content in chat.get_history() for part in content.parts]
    hold(any(kinds), "the call is not in the history")


def an_answer_in_a_schema():
    config = {"response_mime_type": "application/json", "response_schema": City}
    answer = client.models.generate_content(model=MODEL, contents="a city", config=config)
    hold(isinstance(answer.parsed, City), f"not parsed: {answer.text}")
    equal(answer.parsed.name, "text")
    by_json = {"response_mime_type": "application/json", "response_json_schema": City.model_json_schema()}
    answer = client.models.generate_content(model=MODEL, contents="a city", config=by_json)
    City.model_validate_json(answer.text)


def interactions_that_build_on_each_other():
    first = client.interactions.create(model=MODEL, input="first")
    equal((first.status, said(first)), ("completed", "You said: first"))
    second = client.interactions.create(model=MODEL, input="second", previous_interaction_id=first.id)
    equal((second.previous_interaction_id, said(second)), (first.id, "You said: second"))
    equal(client.interactions.get(second.id).id, second.id)
    stream = client.interactions.create(model=MODEL, input="third", previous_interaction_id=second.id, stream=True)
    events = list(stream)
    hold(len(events) > 3, f"too few events: {events}")
    text = "".join(getattr(getattr(event, "delta", None), "text", None) or "" for event in events)
    equal(text, "You said: third")
    client.interactions.delete(first.id)
    refused(404, lambda: client.interactions.get(first.id))


def said(interaction):
    """The text of an interaction."""
    steps = [step for step in interaction.steps or [] if step.type == "model_output"]
    return "".join(part.text for step in steps for part in step.content if part.type == "text")


def embeddings_and_counted_tokens():
    answer = client.models.embed_content(model=EMBEDDER, contents=["a", "b"], config={"output_dimensionality": 8})
    hold(all(len(one.values) == 8 for one in answer.embeddings) and answer.embeddings, f"wrong: {answer}")
    equal(client.models.count_tokens(model=MODEL, contents="12345678").total_tokens, 2)


run("Python google-genai", a_file_from_beginning_to_end, a_file_of_twenty_megabytes, uploads_at_once,
    two_files_in_one_prompt, files_of_every_project, a_cache_from_beginning_to_end, a_batch_of_inlined_prompts,
    a_batch_by_file, a_batch_that_is_cancelled, a_store_to_search, a_picture_that_is_painted,
    a_chat_that_calls_functions, an_answer_in_a_schema, interactions_that_build_on_each_other,
    embeddings_and_counted_tokens)
