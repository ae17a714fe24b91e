"""langchain-google-genai among three projects."""

import asyncio
import io
import os

# Nothing is to be told to anybody.
os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}

from google import genai  # noqa: E402
from langchain_core.messages import HumanMessage, ToolMessage  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from steps import EMBEDDER, FRAMES, MODEL, TOKEN, URL, equal, hold, run  # noqa: E402

chat = ChatGoogleGenerativeAI(model=MODEL, google_api_key=TOKEN, base_url=URL)


class City(BaseModel):
    """What an answer is to keep to."""

    name: str
    people: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


def text(message):
    """A message's text, whatever pieces it came in."""
    return str(message.text)


def an_answer_in_one_piece():
    answer = chat.invoke("hello there")
    equal(text(answer), "You said: hello there")
    usage = answer.usage_metadata
    equal(usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"])


def a_stream_in_pieces():
    chunks = [text(chunk) for chunk in chat.stream("one two three four five")]
    equal("".join(chunks), "You said: one two three four five")
    hold(len([chunk for chunk in chunks if chunk]) == FRAMES, chunks)


def async_answers_and_a_batch():
    async def all_of_them():
        equal(text(await chat.ainvoke("first")), "You said: first")
        equal("".join([text(chunk) async for chunk in chat.astream("second")]), "You said: second")

    asyncio.run(all_of_them())
    answers = chat.batch([f"number {number}" for number in range(8)])
    equal([text(answer) for answer in answers], [f"You said: number {number}" for number in range(8)])


def a_tool_that_is_called():
    bound = chat.bind_tools([weather])
    history = [HumanMessage("how is the weather?")]
    answer = bound.invoke(history)
    (call,) = answer.tool_calls
    equal((call["name"], call["args"]), ("weather", {"city": "text"}))
    result = weather.invoke(call)
    hold(isinstance(result, ToolMessage) and result.content == "rain in text", result)
    hold(text(bound.invoke([*history, answer, result])).startswith("You said"), "no answer after the call")


def an_answer_in_a_schema():
    for method in ("json_schema", "function_calling"):
        equal(chat.with_structured_output(City, method=method).invoke("a city"), City(name="text", people=1))


def embeddings():
    embedder = GoogleGenerativeAIEmbeddings(
        model=EMBEDDER, google_api_key=TOKEN, base_url=URL, output_dimensionality=8)
    equal(len(embedder.embed_query("a")), 8)
    equal([len(one) for one in embedder.embed_documents(["a", "b", "c"])], [8, 8, 8])
    equal(len(asyncio.run(embedder.aembed_query("a"))), 8)


def a_file_and_a_cache():
    client = genai.Client(api_key=TOKEN, http_options={"base_url": URL})
    file = client.files.upload(file=io.BytesIO(b"a file"), config={"mime_type": "text/plain"})
    media = {"type": "media", "file_uri": file.uri, "mime_type": file.mime_type}
    asked = HumanMessage([media, {"type": "text", "text": "what is in it?"}])
    answer = chat.invoke([asked])
    equal(text(answer), "You said: what is in it?")
    hold(answer.usage_metadata["input_tokens"] > 258, f"the file was not counted: {answer.usage_metadata}")
    cache = client.caches.create(model=MODEL, config={"contents": [file, "a long text"], "ttl": "600s"})
    cached = ChatGoogleGenerativeAI(model=MODEL, google_api_key=TOKEN, base_url=URL, cached_content=cache.name)
    for number in range(3):
        answer = cached.invoke(f"number {number}")
        equal(text(answer), f"You said: number {number}")
        hold(answer.usage_metadata["input_token_details"]["cache_read"] > 258, answer.usage_metadata)


def counted_tokens():
    hold(chat.get_num_tokens("12345678") == 2, "not counted")


run("Python langchain-google-genai", an_answer_in_one_piece, a_stream_in_pieces, async_answers_and_a_batch,
    a_tool_that_is_called, an_answer_in_a_schema, embeddings, a_file_and_a_cache, counted_tokens)
