// @google/genai among three projects: what it makes, it names, lists and takes away again.

import { GoogleGenAI, Modality } from "@google/genai";
import { all, EMBEDDER, equal, hold, MODEL, refused, run, SEEDS, TALKER, TOKEN, URL } from "../steps.mjs";

const client = new GoogleGenAI({ apiKey: TOKEN, httpOptions: { baseUrl: URL } });
const LARGE = 20 * 1024 * 1024;
const CITY = {
  type: "OBJECT",
  properties: { name: { type: "STRING" }, people: { type: "INTEGER" } },
  required: ["name", "people"],
};
const WEATHER = {
  name: "weather",
  description: "The weather in a city.",
  parametersJsonSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

/** A small file of the client's own. */
const upload = (text, mimeType = "text/plain") =>
  client.files.upload({ file: new Blob([text], { type: mimeType }), config: { mimeType } });

/** A prompt with files in it. */
const about = (text, ...files) => {
  const parts = files.map((one) => ({ fileData: { fileUri: one.uri, mimeType: one.mimeType } }));
  return [{ role: "user", parts: [...parts, { text }] }];
};

/** The text that a prompt is answered with. */
const said = async (contents, config) => (await client.models.generateContent({ model: MODEL, contents, config })).text;

/** A Live session, with a way to wait for what it brings. */
async function converse(config = {}, by = client) {
  const waiting = [];
  const messages = [];
  const bring = (one) => (waiting.length ? waiting.shift()(one) : messages.push(one));
  const session = await by.live.connect({
    model: TALKER,
    config: { responseModalities: [Modality.TEXT], ...config },
    callbacks: {
      onmessage: bring,
      onerror: (event) => bring({ failed: event.message }),
      onclose: (event) => bring({ failed: `closed with ${event.code}: ${event.reason}` }),
    },
  });
  const next = () => (messages.length ? messages.shift() : new Promise((resolve) => waiting.push(resolve)));
  const told = async () => {
    let text = "", handle;
    for (;;) {
      const message = await next();
      hold(!message.failed, message.failed);
      text += message.serverContent?.modelTurn?.parts?.map((part) => part.text ?? "").join("") ?? "";
      handle = message.sessionResumptionUpdate?.newHandle ?? handle;
      if (message.toolCall) return { call: message.toolCall.functionCalls[0], handle };
      if (message.serverContent?.turnComplete) return { text, handle };
    }
  };
  return { session, told };
}

await run("JS @google/genai", {
  "a file from beginning to end": async () => {
    const file = await upload("a small file");
    equal([file.state, file.sizeBytes, file.mimeType], ["ACTIVE", "12", "text/plain"]);
    equal((await client.files.get({ name: file.name })).uri, file.uri);
    const names = (await all(await client.files.list({ config: { pageSize: 2 } }))).map((one) => one.name);
    hold(names.includes(file.name), `${file.name} is not in ${names}`);
    equal(await said(about("what is in it?", file)), "You said: what is in it?");
    let text = "";
    const contents = about("and?", file);
    for await (const chunk of await client.models.generateContentStream({ model: MODEL, contents })) text += chunk.text;
    equal(text, "You said: and?");
    await client.files.delete({ name: file.name });
    await refused(403, () => client.files.get({ name: file.name }));
  },
  "a file of twenty megabytes": async () => {
    const file = await upload("0123456789abcdef".repeat(LARGE / 16), "video/mp4");
    equal(file.sizeBytes, `${LARGE}`);
    equal(await said(about("long?", file)), "You said: long?");
  },
  "two files in one prompt": async () => {
    equal(await said(about("both", await upload("one"), await upload("two"))), "You said: both");
  },
  "files of every project": async () => {
    const names = (await all(await client.files.list({ config: { pageSize: 1 } }))).map((one) => one.name);
    equal(names.length, new Set(names).size);
    for (const seed of SEEDS) {
      hold(names.includes(seed.file), `${seed.file} is not in ${names}`);
      equal(await said(about("seed", await client.files.get({ name: seed.file }))), "You said: seed");
    }
  },
  "a cache from beginning to end": async () => {
    const file = await upload("a file for a cache");
    const config = { contents: about("a long text", file), systemInstruction: "be brief", ttl: "600s" };
    const cache = await client.caches.create({ model: MODEL, config });
    for (const text of ["next", "last"]) equal(await said(text, { cachedContent: cache.name }), `You said: ${text}`);
    const longer = await client.caches.update({ name: cache.name, config: { ttl: "7200s" } });
    hold(longer.expireTime > cache.expireTime, `${longer.expireTime} is not after ${cache.expireTime}`);
    const names = (await all(await client.caches.list({ config: { pageSize: 1 } }))).map((one) => one.name);
    for (const name of [cache.name, ...SEEDS.map((seed) => seed.cache)]) {
      hold(names.includes(name), `${name} is not in ${names}`);
    }
    await client.caches.delete({ name: cache.name });
    await refused(403, () => client.caches.get({ name: cache.name }));
  },
  "batches, of prompts and by file": async () => {
    const src = [0, 1].map((number) => ({ contents: [{ role: "user", parts: [{ text: `prompt ${number}` }] }] }));
    const batch = await client.batches.create({ model: MODEL, src });
    const names = (await all(await client.batches.list({ config: { pageSize: 2 } }))).map((one) => one.name);
    hold(names.includes(batch.name), `${batch.name} is not in ${names}`);
    const done = await client.batches.get({ name: batch.name });
    equal(done.state, "JOB_STATE_SUCCEEDED");
    equal(done.dest.inlinedResponses.map((one) => one.response.candidates[0].content.parts[0].text),
      ["You said: prompt 0", "You said: prompt 1"]);
    await client.batches.delete({ name: batch.name });
    const line = JSON.stringify({ key: "k", request: { contents: [{ parts: [{ text: "line" }] }] } });
    const file = await upload(`${line}\n`, "application/jsonl");
    const byFile = await client.batches.create({ model: MODEL, src: file.name });
    await client.batches.cancel({ name: byFile.name });
    equal((await client.batches.get({ name: byFile.name })).state, "JOB_STATE_CANCELLED");
  },
  "a function that is called": async () => {
    const config = { tools: [{ functionDeclarations: [WEATHER] }] };
    const chat = client.chats.create({ model: MODEL, config });
    const [call] = (await chat.sendMessage({ message: "how is the weather?" })).functionCalls ?? [];
    equal([call?.name, call?.args], ["weather", { city: "text" }]);
    const functionResponse = { id: call.id, name: call.name, response: { output: "rain" } };
    const answer = await chat.sendMessage({ message: [{ functionResponse }] });
    hold(answer.text.startsWith("You said"), answer.text);
  },
  "an answer in a schema": async () => {
    const text = await said("a city", { responseMimeType: "application/json", responseSchema: CITY });
    equal(JSON.parse(text), { name: "text", people: 1 });
  },
  "interactions that build on each other": async () => {
    const first = await client.interactions.create({ model: MODEL, input: "first" });
    equal(first.status, "completed");
    const second = await client.interactions.create({
      model: MODEL, input: "second", previous_interaction_id: first.id,
    });
    hold(JSON.stringify(second.steps).includes("You said: second"), JSON.stringify(second));
    equal((await client.interactions.get(second.id)).id, second.id);
    let text = "";
    const stream = await client.interactions.create({
      model: MODEL, input: "third", previous_interaction_id: second.id, stream: true,
    });
    for await (const event of stream) text += event.delta?.text ?? "";
    equal(text, "You said: third");
    await client.interactions.delete(first.id);
  },
  "embeddings and counted tokens": async () => {
    const config = { outputDimensionality: 8 };
    const answer = await client.models.embedContent({ model: EMBEDDER, contents: ["a", "b"], config });
    hold(answer.embeddings?.length, "no embeddings");
    for (const one of answer.embeddings) equal(one.values.length, 8);
    equal((await client.models.countTokens({ model: MODEL, contents: "12345678" })).totalTokens, 2);
  },
  "live turns of text": async () => {
    const { session, told } = await converse();
    for (const turns of ["first", "second"]) {
      session.sendClientContent({ turns, turnComplete: true });
      equal((await told()).text, `You said: ${turns}`);
    }
    session.close();
  },
  "a live function that is called": async () => {
    const { session, told } = await converse({ tools: [{ functionDeclarations: [WEATHER] }] });
    session.sendClientContent({ turns: "how is the weather?", turnComplete: true });
    const { call } = await told();
    equal(call?.name, "weather");
    session.sendToolResponse({ functionResponses: [{ id: call.id, name: call.name, response: { weather: "rain" } }] });
    hold((await told()).text.includes("rain"), "the result was not heard");
    session.close();
  },
  "a live session that goes on": async () => {
    let handle;
    for (let times = 0; times < 6; times++) {
      const { session, told } = await converse({ sessionResumption: { handle } });
      session.sendClientContent({ turns: "on", turnComplete: true });
      handle = (await told()).handle;
      hold(handle, "no handle came");
      session.close();
    }
  },
  "a token for one live session": async () => {
    const by = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: URL, apiVersion: "v1alpha" } });
    const token = await by(TOKEN).authTokens.create({ config: { uses: 1 } });
    const { session, told } = await converse({}, by(token.name));
    session.sendClientContent({ turns: "by token", turnComplete: true });
    equal((await told()).text, "You said: by token");
    session.close();
  },
});
