"""openai for Python, changed in nothing but its base URL and key."""

import asyncio

import openai
from steps import EMBEDDER, MODEL, TOKEN, URL, Arrivals, equal, run

client = openai.OpenAI(api_key=TOKEN, base_url=f"{URL}/v1")
SAID = "one two three four five six seven"
ANSWER = f"You said: {SAID}"
MESSAGES = [{"role": "user", "content": SAID}]


def used(usage):
    """Usage is there and adds up."""
    if not usage.prompt_tokens or not usage.completion_tokens:
        raise AssertionError(f"no usage: {usage}")
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)


def an_answer_in_one_piece():
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    equal(answer.choices[0].message.content, ANSWER)
    equal(answer.choices[0].finish_reason, "stop")
    used(answer.usage)


def a_stream_in_order():
    arrivals, finish, usage = Arrivals(), None, None
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    for chunk in stream:
        for choice in chunk.choices:
            arrivals.add(choice.delta.content)
            finish = choice.finish_reason or finish
        usage = chunk.usage or usage
    arrivals.are(ANSWER)
    equal(finish, "stop")
    used(usage)


def an_async_stream():
    async def ask():
        arrivals = Arrivals()
        async with openai.AsyncOpenAI(api_key=TOKEN, base_url=f"{URL}/v1") as own:
            async for chunk in await own.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
                arrivals.add(chunk.choices[0].delta.content)
        arrivals.are(ANSWER)

    asyncio.run(ask())


def embeddings():
    answer = client.embeddings.create(model=EMBEDDER, input=["a", "b"], dimensions=8)
    equal([len(one.embedding) for one in answer.data], [8, 8])
    if not any(answer.data[0].embedding):
        raise AssertionError("the embedding is zero")
    plain = client.embeddings.create(model=EMBEDDER, input="a", dimensions=8, encoding_format="float")
    if any(abs(a - b) > 1e-6 for a, b in zip(plain.data[0].embedding, answer.data[0].embedding)):
        raise AssertionError("base64 and floats differ")


def the_models():
    ids = [model.id for model in client.models.list()]
    if f"models/{MODEL}" not in ids:
        raise AssertionError(f"{MODEL} is not in {ids}")


run("Python openai", an_answer_in_one_piece, a_stream_in_order, an_async_stream, embeddings, the_models)
