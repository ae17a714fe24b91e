// openai for JavaScript among three projects, over the compatible surface.

import OpenAI, { toFile } from "openai";
import { all, EMBEDDER, equal, hold, MODEL, PAINTER, refused, run, SEEDS, TOKEN, URL } from "../steps.mjs";

const client = new OpenAI({ apiKey: TOKEN, baseURL: `${URL}/v1` });
const messages = [{ role: "user", content: "hello there" }];
const ANSWER = "You said: hello there";
const tools = [{
  type: "function",
  function: {
    name: "weather",
    description: "The weather in a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
}];

/** A file of requests for a batch. */
async function requests(...prompts) {
  const lines = prompts.map((content, at) => JSON.stringify({
    custom_id: `k${at}`, method: "POST", url: "/v1/chat/completions",
    body: { model: MODEL, messages: [{ role: "user", content }] },
  }));
  const file = await toFile(Buffer.from(lines.join("\n") + "\n"), "lines.jsonl", { type: "application/jsonl" });
  return client.files.create({ file, purpose: "batch" });
}

/** A batch of the requests in a file. */
const batched = (file) =>
  client.batches.create({ input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" });

await run("JS openai", {
  "a chat, and a stream with its usage": async () => {
    const answer = await client.chat.completions.create({ model: MODEL, messages });
    equal(answer.choices[0].message.content, ANSWER);
    const stream_options = { include_usage: true };
    const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true, stream_options });
    const chunks = await all(stream);
    equal(chunks.map((one) => one.choices[0]?.delta.content ?? "").join(""), ANSWER);
    const { usage } = chunks.findLast((one) => one.usage);
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  },
  "functions that are called": async () => {
    let asked;
    const weather = ({ city }) => {
      asked = city;
      return "rain";
    };
    const runnable = [{ type: "function", function: { ...tools[0].function, parse: JSON.parse, function: weather } }];
    const runner = client.chat.completions.runTools({ model: MODEL, messages, tools: runnable });
    hold((await runner.finalContent()).startsWith("You said: "), "no answer after the call");
    equal(asked, "text");
    const streamed = client.chat.completions.stream({ model: MODEL, messages, tools });
    const { choices } = await streamed.finalChatCompletion();
    equal(choices[0].message.tool_calls[0].function.name, "weather");
  },
  "an answer in a schema": async () => {
    const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };
    const response_format = { type: "json_schema", json_schema: { name: "city", schema } };
    const answer = await client.chat.completions.create({ model: MODEL, messages, response_format });
    equal(JSON.parse(answer.choices[0].message.content), { name: "text" });
  },
  "embeddings, in base64 by the client's own choice": async () => {
    const answer = await client.embeddings.create({ model: EMBEDDER, input: ["a", "b"], dimensions: 8 });
    equal(answer.data.map((one) => one.embedding.length), [8, 8]);
  },
  "a picture that is painted": async () => {
    const picture = await client.images.generate({ model: PAINTER, prompt: "a cat", response_format: "b64_json" });
    hold(picture.data[0].b64_json, "no picture");
  },
  "the models": async () => {
    const ids = (await all(client.models.list())).map((one) => one.id);
    hold(ids.includes(`models/${MODEL}`), `${MODEL} is not in ${ids}`);
    equal((await client.models.retrieve(MODEL)).id.replace("models/", ""), MODEL);
  },
  "a batch by file": async () => {
    const batch = await batched(await requests("line 0", "line 1"));
    const ids = (await all(client.batches.list())).map((one) => one.id);
    hold(ids.includes(batch.id), `${batch.id} is not in ${ids}`);
    const done = await client.batches.retrieve(batch.id);
    equal(done.status, "completed");
    const text = await (await client.files.content(done.output_file_id)).text();
    hold(text.includes("You said: line 1"), text);
  },
  "a batch that is cancelled": async () => {
    const { status } = await client.batches.cancel((await batched(await requests("never"))).id);
    hold(["cancelling", "cancelled"].includes(status), status);
  },
  "files of every project": async () => {
    const mine = await toFile(Buffer.from("mine"), "mine.txt");
    const file = await client.files.create({ file: mine, purpose: "user_data" });
    equal((await client.files.retrieve(file.id)).id, file.id);
    const ids = (await all(client.files.list())).map((one) => one.id);
    for (const wanted of [file.id, ...SEEDS.map((seed) => seed.file)].map((name) => name.replace("files/", ""))) {
      hold(ids.some((id) => id.endsWith(wanted)), `${wanted} is not in ${ids}`);
    }
    await client.files.delete(file.id);
  },
  "an error of the caller's own": async () => {
    await refused(404, () => client.chat.completions.create({ model: "no-such-model", messages }));
  },
});
