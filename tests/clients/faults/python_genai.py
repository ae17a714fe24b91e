"""google-genai for Python, changed in nothing but its base URL and key."""

import asyncio

from google import genai
from steps import EMBEDDER, MODEL, TOKEN, URL, Arrivals, equal, run

client = genai.Client(api_key=TOKEN, http_options={"base_url": URL})
SAID = "one two three four five six seven"
ANSWER = f"You said: {SAID}"


def whole(answer, text):
    """A finished answer with its usage."""
    equal(answer.text, text)
    equal(answer.candidates[0].finish_reason.name, "STOP")
    used(answer.usage_metadata)


def used(usage):
    """Usage is there and adds up."""
    if not usage.prompt_token_count or not usage.candidates_token_count:
        raise AssertionError(f"no usage: {usage}")
    equal(usage.total_token_count, usage.prompt_token_count + usage.candidates_token_count)


def an_answer_in_one_piece():
    whole(client.models.generate_content(model=MODEL, contents=SAID), ANSWER)


def a_stream_in_order():
    arrivals = Arrivals()
    for last in client.models.generate_content_stream(model=MODEL, contents=SAID):
        arrivals.add(last.text)
    arrivals.are(ANSWER)
    equal(last.candidates[0].finish_reason.name, "STOP")
    used(last.usage_metadata)


def an_async_answer_and_stream():
    async def both():
        whole(await client.aio.models.generate_content(model=MODEL, contents=SAID), ANSWER)
        arrivals = Arrivals()
        async for last in await client.aio.models.generate_content_stream(model=MODEL, contents=SAID):
            arrivals.add(last.text)
        arrivals.are(ANSWER)
        used(last.usage_metadata)

    asyncio.run(both())


def twenty_at_once():
    async def ask(number):
        async with genai.Client(api_key=TOKEN, http_options={"base_url": URL}).aio as own:
            whole(await own.models.generate_content(model=MODEL, contents=f"number {number}"),
                  f"You said: number {number}")

    async def all_of_them():
        await asyncio.gather(*(ask(number) for number in range(20)))

    asyncio.run(all_of_them())


def a_chat_that_remembers():
    chat = client.chats.create(model=MODEL)
    whole(chat.send_message("first"), "You said: first")
    text = "".join(chunk.text for chunk in chat.send_message_stream("second"))
    equal(text, "You said: second")
    equal([content.role for content in chat.get_history()][:2], ["user", "model"])


def counted_tokens():
    equal(client.models.count_tokens(model=MODEL, contents="12345678").total_tokens, 2)


def embeddings():
    answer = client.models.embed_content(
        model=EMBEDDER, contents=["a", "b"], config={"output_dimensionality": 8})
    if not answer.embeddings or any(len(one.values) != 8 for one in answer.embeddings):
        raise AssertionError(f"wrong embeddings: {answer}")


def the_models():
    names = [model.name for model in client.models.list()]
    if f"models/{MODEL}" not in names:
        raise AssertionError(f"{MODEL} is not in {names}")
    equal(client.models.get(model=MODEL).name, f"models/{MODEL}")


run("Python google-genai", an_answer_in_one_piece, a_stream_in_order, an_async_answer_and_stream, twenty_at_once,
    a_chat_that_remembers, counted_tokens, embeddings, the_models)
