"""LiteLLM's SDK among three projects."""

import asyncio
import io
import os

# Its prices come with it: nothing is fetched.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}

import litellm  # noqa: E402
from google import genai  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from steps import EMBEDDER, FRAMES, MODEL, TOKEN, URL, equal, hold, run  # noqa: E402

litellm.telemetry = False
GEMINI = {"model": f"gemini/{MODEL}", "api_base": f"{URL}/v1beta", "api_key": TOKEN}
OPENAI = {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": TOKEN}
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


class City(BaseModel):
    """What an answer is to keep to."""

    name: str
    people: int


def says(content):
    """A prompt of one message."""
    return [{"role": "user", "content": content}]


def answers_on_both_surfaces():
    for surface in (GEMINI, OPENAI):
        answer = litellm.completion(**surface, messages=says("hello there"))
        equal(answer.choices[0].message.content, "You said: hello there")
        equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)


def streams_on_both_surfaces():
    for surface in (GEMINI, OPENAI):
        stream = litellm.completion(**surface, messages=says("one two three four five"), stream=True)
        chunks = [chunk.choices[0].delta.content for chunk in stream]
        equal("".join(chunk or "" for chunk in chunks), "You said: one two three four five")
        hold(len([chunk for chunk in chunks if chunk]) >= FRAMES, chunks)


def async_answers():
    async def all_of_them():
        asked = [litellm.acompletion(**GEMINI, messages=says(f"number {number}")) for number in range(8)]
        found = [answer.choices[0].message.content for answer in await asyncio.gather(*asked)]
        equal(found, [f"You said: number {number}" for number in range(8)])

    asyncio.run(all_of_them())


def a_function_that_is_called():
    for surface in (GEMINI, OPENAI):
        answer = litellm.completion(**surface, messages=says("how is the weather?"), tools=[WEATHER])
        (call,) = answer.choices[0].message.tool_calls
        equal((call.function.name, call.function.arguments.replace(" ", "")), ("weather", '{"city":"text"}'))
        result = {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "rain"}
        history = [*says("how is the weather?"), answer.choices[0].message, result]
        answer = litellm.completion(**surface, messages=history, tools=[WEATHER])
        hold(answer.choices[0].message.content.startswith("You said"), answer)


def an_answer_in_a_schema():
    answer = litellm.completion(**GEMINI, messages=says("a city"), response_format=City)
    equal(City.model_validate_json(answer.choices[0].message.content), City(name="text", people=1))


def embeddings():
    answer = litellm.embedding(**GEMINI | {"model": f"gemini/{EMBEDDER}"}, input=["a", "b"], dimensions=8)
    hold(answer.data and all(len(one["embedding"]) == 8 for one in answer.data), answer)


def counted_tokens():
    from litellm.llms.gemini.count_tokens.handler import GoogleAIStudioTokenCounter
    asked = GoogleAIStudioTokenCounter().acount_tokens(
        contents=[{"role": "user", "parts": [{"text": "12345678"}]}], model=MODEL, api_key=TOKEN, api_base=URL)
    equal(asyncio.run(asked)["totalTokens"], 2)


def a_file_and_a_cache():
    client = genai.Client(api_key=TOKEN, http_options={"base_url": URL})
    file = client.files.upload(file=io.BytesIO(b"a file"), config={"mime_type": "text/plain"})
    part = {"type": "file", "file": {"file_id": file.uri, "format": "text/plain"}}
    answer = litellm.completion(**GEMINI, messages=says([part, {"type": "text", "text": "what is in it?"}]))
    equal(answer.choices[0].message.content, "You said: what is in it?")
    hold(answer.usage.prompt_tokens > 258, f"the file was not counted: {answer.usage}")
    cache = client.caches.create(model=MODEL, config={"contents": [file, "a long text"], "ttl": "600s"})
    answer = litellm.completion(**GEMINI, messages=says("next"), cached_content=cache.name)
    equal(answer.choices[0].message.content, "You said: next")
    hold(answer.usage.prompt_tokens_details.cached_tokens > 258, answer.usage)


def files_of_its_own():
    file = litellm.create_file(file=("a.txt", b"its own", "text/plain"), purpose="user_data",
                               custom_llm_provider="gemini", api_key=TOKEN, api_base=URL)
    found = litellm.file_retrieve(file_id=file.id, custom_llm_provider="gemini", api_key=TOKEN, api_base=URL)
    equal(found.id, file.id)
    litellm.file_delete(file_id=file.id, custom_llm_provider="gemini", api_key=TOKEN, api_base=URL)


run("Python LiteLLM", answers_on_both_surfaces, streams_on_both_surfaces, async_answers, a_function_that_is_called,
    an_answer_in_a_schema, embeddings, counted_tokens, a_file_and_a_cache, files_of_its_own)
