"""google-genai's Live sessions for Python. It speaks over TLS alone: a line with TLS stands before geminate."""

import asyncio
import dataclasses
import os

from google import genai
from google.genai import errors, types
from steps import TALKER, TOKEN, equal, hold, run

# The address with TLS, whose certificate SSL_CERT_FILE names.
client = genai.Client(api_key=TOKEN, http_options={"base_url": os.environ["GEMINATE_TLS_URL"]})
WEATHER = {"function_declarations": [{"name": "weather", "description": "The weather in a city."}]}


@dataclasses.dataclass
class Told:
    """What a turn brought."""

    text: str = ""
    audio_bytes: int = 0
    usage: types.UsageMetadata | None = None
    handle: str | None = None
    calls: list[types.FunctionCall] = dataclasses.field(default_factory=list)


def session(modality="TEXT", **more):
    """A session that is to be opened."""
    return client.aio.live.connect(model=TALKER, config={"response_modalities": [modality], **more})


async def turn(live, text):
    """One turn, and what it brought."""
    await live.send_client_content(turns=types.Content(role="user", parts=[types.Part(text=text)]), turn_complete=True)
    return await told(live)


async def told(live):
    """What comes until the turn is complete, or functions are called."""
    brought = Told()
    async for message in live.receive():
        for part in (message.server_content and message.server_content.model_turn or types.Content()).parts or []:
            brought.text += part.text or ""
            brought.audio_bytes += len(part.inline_data.data) if part.inline_data else 0
        brought.usage = message.usage_metadata or brought.usage
        if message.session_resumption_update:
            brought.handle = message.session_resumption_update.new_handle or brought.handle
        if message.tool_call:
            brought.calls = message.tool_call.function_calls
            break
    return brought


async def turns_of_text():
    async with session() as live:
        for text in ("first", "second"):
            brought = await turn(live, text)
            equal(brought.text, f"You said: {text}")
            hold(brought.usage.response_token_count, f"no usage: {brought.usage}")


async def turns_of_sound():
    async with session("AUDIO") as live:
        await live.send_realtime_input(audio=types.Blob(data=bytes(64 << 10), mime_type="audio/pcm;rate=16000"))
        await live.send_realtime_input(audio_stream_end=True)
        hold((await told(live)).audio_bytes > 0, "no sound came")


async def a_function_that_is_called():
    async with session(tools=[WEATHER]) as live:
        (call,) = (await turn(live, "how is the weather?")).calls
        equal(call.name, "weather")
        result = types.FunctionResponse(id=call.id, name=call.name, response={"weather": "rain"})
        await live.send_tool_response(function_responses=[result])
        hold("rain" in (await told(live)).text, "the result was not heard")


async def a_session_that_goes_on():
    handle = None
    for _ in range(6):
        async with session(session_resumption={"handle": handle}) as live:
            handle = (await turn(live, "on")).handle
            hold(handle, "no handle came")


async def ten_sessions_at_once():
    async def one(number):
        async with session() as live:
            equal((await turn(live, f"number {number}")).text, f"You said: number {number}")

    await asyncio.gather(*(one(number) for number in range(10)))


async def a_refusal_with_its_code():
    try:
        async with client.aio.live.connect(model="no-such-model", config={"response_modalities": ["TEXT"]}) as live:
            await turn(live, "hello")
    except errors.APIError as error:
        equal(error.code, 1008)
    else:
        raise AssertionError("not refused")


async def a_token_for_one_session():
    options = {"api_version": "v1alpha", "base_url": os.environ["GEMINATE_TLS_URL"]}
    token = await genai.Client(api_key=TOKEN, http_options=options).aio.auth_tokens.create(config={"uses": 1})
    owner = genai.Client(api_key=token.name, http_options=options)
    async with owner.aio.live.connect(model=TALKER, config={"response_modalities": ["TEXT"]}) as live:
        equal((await turn(live, "by token")).text, "You said: by token")


def step(story):
    """A story told in a loop of its own, as a step."""
    def told_alone():
        asyncio.run(asyncio.wait_for(story(), 20))
    told_alone.__name__ = story.__name__
    return told_alone


run("Python google-genai, live", *map(step, (
    turns_of_text, turns_of_sound, a_function_that_is_called, a_session_that_goes_on, ten_sessions_at_once,
    a_refusal_with_its_code, a_token_for_one_session)))
