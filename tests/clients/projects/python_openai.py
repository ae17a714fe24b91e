"""openai for Python among three projects, over the compatible surface."""

import json

import openai
from pydantic import BaseModel
from steps import DIRECTOR, EMBEDDER, MODEL, PAINTER, SEEDS, TOKEN, URL, equal, hold, run

client = openai.OpenAI(api_key=TOKEN, base_url=f"{URL}/v1")
MESSAGES = [{"role": "user", "content": "hello there"}]
ANSWER = "You said: hello there"
PNG = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


class City(BaseModel):
    """What an answer is to keep to."""

    name: str
    people: int


def a_chat_and_a_stream_with_its_usage():
    for model in (MODEL, f"models/{MODEL}", f"google/{MODEL}"):
        answer = client.chat.completions.create(model=model, messages=MESSAGES)
        equal(answer.choices[0].message.content, ANSWER)
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    equal("".join(one.choices[0].delta.content or "" for one in chunks if one.choices), ANSWER)
    usage = [one.usage for one in chunks if one.usage][-1]
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)


def a_function_that_is_called():
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, tools=[WEATHER])
    equal(answer.choices[0].finish_reason, "tool_calls")
    (call,) = answer.choices[0].message.tool_calls
    equal((call.function.name, json.loads(call.function.arguments)), ("weather", {"city": "text"}))
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    history = [*MESSAGES, answer.choices[0].message, result]
    answer = client.chat.completions.create(model=MODEL, messages=history, tools=[WEATHER])
    hold(answer.choices[0].message.content.startswith("You said: "), answer)


def a_function_called_in_a_stream():
    with client.chat.completions.stream(model=MODEL, messages=MESSAGES, tools=[WEATHER]) as stream:
        answer = stream.get_final_completion()
    equal(answer.choices[0].message.tool_calls[0].function.name, "weather")


def an_answer_in_a_schema():
    answer = client.chat.completions.parse(model=MODEL, messages=MESSAGES, response_format=City)
    equal(answer.choices[0].message.parsed, City(name="text", people=1))


def a_picture_in_a_prompt():
    content = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
    hold(answer.usage.prompt_tokens > 258, f"the picture was not counted: {answer.usage}")


def some_reasoning():
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, reasoning_effort="high")
    hold(answer.choices[0].message.content.endswith(ANSWER), answer)


def embeddings():
    answer = client.embeddings.create(model=EMBEDDER, input=["a", "b"], dimensions=8)
    equal([len(one.embedding) for one in answer.data], [8, 8])


def a_picture_that_is_painted():
    answer = client.images.generate(model=PAINTER, prompt="a cat", response_format="b64_json", n=1)
    hold(answer.data[0].b64_json, f"no picture: {answer}")


def a_film():
    film = client.videos.create_and_poll(model=DIRECTOR, prompt="a cat", poll_interval_ms=50)
    equal(film.status, "completed")


def the_models():
    ids = [model.id for model in client.models.list()]
    hold(f"models/{MODEL}" in ids, f"{MODEL} is not in {ids}")
    equal(client.models.retrieve(MODEL).id.removeprefix("models/"), MODEL)


def a_batch_by_file():
    lines = [{"custom_id": f"k{number}", "method": "POST", "url": "/v1/chat/completions",
              "body": {"model": MODEL, "messages": [{"role": "user", "content": f"line {number}"}]}}
             for number in range(2)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    file = client.files.create(file=("lines.jsonl", text.encode(), "application/jsonl"), purpose="batch")
    equal(client.files.retrieve(file.id).id, file.id)
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    hold(batch.id in [one.id for one in client.batches.list()], "the batch is not listed")
    done = client.batches.retrieve(batch.id)
    equal(done.status, "completed")
    results = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
    equal([one["custom_id"] for one in results], ["k0", "k1"])
    hold("You said: line 1" in json.dumps(results[1]), results)


def a_batch_that_is_cancelled():
    line = {"custom_id": "k", "method": "POST", "url": "/v1/chat/completions",
            "body": {"model": MODEL, "messages": MESSAGES}}
    file = client.files.create(file=("one.jsonl", json.dumps(line).encode(), "application/jsonl"), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    hold(client.batches.cancel(batch.id).status in ("cancelling", "cancelled"), "not cancelled")


def files_of_every_project():
    mine = client.files.create(file=("mine.txt", b"mine", "text/plain"), purpose="user_data")
    ids = [one.id for one in client.files.list()]
    for wanted in [mine.id.removeprefix("files/"), *(seed["file"].removeprefix("files/") for seed in SEEDS)]:
        hold(any(found.endswith(wanted) for found in ids), f"{wanted} is not in {ids}")
    client.files.delete(mine.id)
    try:
        client.files.retrieve(mine.id)
    except openai.APIStatusError as error:
        hold(error.status_code in (403, 404), f"refused with {error.status_code}")
    else:
        raise AssertionError("not refused")


def an_error_of_the_callers_own():
    try:
        client.chat.completions.create(model="no-such-model", messages=MESSAGES)
    except openai.NotFoundError as error:
        # Google's words stand in an array, of which the client makes no message.
        hold("no-such-model" in error.response.text, error.response.text)
    else:
        raise AssertionError("not refused")


run("Python openai", a_chat_and_a_stream_with_its_usage, a_function_that_is_called, a_function_called_in_a_stream,
    an_answer_in_a_schema, a_picture_in_a_prompt, some_reasoning, embeddings, a_picture_that_is_painted, a_film,
    the_models, a_batch_by_file, a_batch_that_is_cancelled, files_of_every_project, an_error_of_the_callers_own)
