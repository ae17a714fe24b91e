// The AI SDK's Google provider among three projects.

import { createGoogle } from "@ai-sdk/google";
import {
  embedMany, experimental_cancelBatch as cancelBatch, experimental_getBatchResults as getBatchResults,
  experimental_getBatchStatus as getBatchStatus, experimental_startBatch as startBatch, generateImage, generateObject,
  generateText, Output, stepCountIs, streamText, tool, uploadFile,
} from "ai";
import { z } from "zod";
import { all, EMBEDDER, equal, hold, MODEL, PAINTER, refused, run, TOKEN, URL } from "../steps.mjs";

const google = createGoogle({ apiKey: TOKEN, baseURL: `${URL}/v1beta` });
const model = google(MODEL);
const city = z.object({ name: z.string(), people: z.number().int() });
const LARGE = 20 * 1024 * 1024;

/** A file of the client's own. */
const upload = (data, mediaType = "text/plain") => uploadFile({ api: google.files(), data, mediaType });

/** A prompt with a file in it. */
const about = ({ providerReference: data, mediaType }, text) =>
  [{ role: "user", content: [{ type: "file", data, mediaType }, { type: "text", text }] }];

/** A tool, and what it was asked. */
function weather() {
  const asked = [];
  const execute = ({ city }) => {
    asked.push(city);
    return "rain";
  };
  const inputSchema = z.object({ city: z.string() });
  return { asked, tools: { weather: tool({ description: "The weather in a city.", inputSchema, execute }) } };
}

await run("JS AI SDK", {
  "an answer in one piece": async () => {
    const { text, usage, finishReason } = await generateText({ model, prompt: "hello there" });
    equal([text, finishReason], ["You said: hello there", "stop"]);
    equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
  },
  "a stream": async () => {
    const stream = streamText({ model, prompt: "one two three four five" });
    equal((await all(stream.textStream)).join(""), "You said: one two three four five");
    hold((await stream.usage).totalTokens > 0, "no usage");
  },
  "a tool that is called": async () => {
    const { asked, tools } = weather();
    const { text, steps } = await generateText({ model, prompt: "the weather?", tools, stopWhen: stepCountIs(3) });
    equal([asked, steps.length], [["text"], 2]);
    hold(text.startsWith("You said"), text);
  },
  "a tool called in a stream": async () => {
    const { asked, tools } = weather();
    const stream = streamText({ model, prompt: "the weather?", tools, stopWhen: stepCountIs(3) });
    hold((await stream.text).startsWith("You said"), "no answer after the call");
    equal(asked, ["text"]);
  },
  "an answer in a schema": async () => {
    equal((await generateObject({ model, prompt: "a city", schema: city })).object, { name: "text", people: 1 });
    const { output } = await generateText({ model, prompt: "a city", output: Output.object({ schema: city }) });
    equal(output, { name: "text", people: 1 });
  },
  embeddings: async () => {
    const providerOptions = { google: { outputDimensionality: 8 } };
    const { embeddings } = await embedMany({ model: google.embedding(EMBEDDER), values: ["a", "b"], providerOptions });
    equal(embeddings.map((one) => one.length), [8, 8]);
  },
  "a picture that is painted": async () => {
    const { image } = await generateImage({ model: google.image(PAINTER), prompt: "a cat" });
    hold(image.uint8Array.length > 0, "no picture");
  },
  "a file that is uploaded": async () => {
    const file = await upload(new TextEncoder().encode("a file"));
    const { text, usage } = await generateText({ model, messages: about(file, "what is in it?") });
    equal(text, "You said: what is in it?");
    hold(usage.inputTokens > 258, `the file was not counted: ${JSON.stringify(usage)}`);
    const stream = streamText({ model, messages: about(file, "and?") });
    equal(await stream.text, "You said: and?");
  },
  "a file of twenty megabytes": async () => {
    const file = await upload(new Uint8Array(LARGE), "video/mp4");
    equal(file.providerMetadata.google.sizeBytes, `${LARGE}`);
    equal((await generateText({ model, messages: about(file, "long?") })).text, "You said: long?");
  },
  "a file by its address": async () => {
    const { providerMetadata } = await upload(new TextEncoder().encode("a file"));
    const data = new globalThis.URL(providerMetadata.google.uri);
    const content = [{ type: "file", data, mediaType: "text/plain" }, { type: "text", text: "by address" }];
    equal((await generateText({ model, messages: [{ role: "user", content }] })).text, "You said: by address");
  },
  batches: async () => {
    const request = (number) => ({ id: `k${number}`, type: "text", model: MODEL, prompt: `prompt ${number}` });
    const batch = await startBatch({ provider: google, requests: [request(0), request(1)] });
    equal((await getBatchStatus({ provider: google, batch })).status, "completed");
    const results = await all(getBatchResults({ provider: google, batch }));
    equal(results.map((one) => [one.id, one.text]), [["k0", "You said: prompt 0"], ["k1", "You said: prompt 1"]]);
    await cancelBatch({ provider: google, batch: await startBatch({ provider: google, requests: [request(0)] }) });
  },
  "interactions that build on each other": async () => {
    const talker = google.interactions(MODEL);
    const first = await generateText({ model: talker, prompt: "first" });
    equal(first.text, "You said: first");
    const { interactionId } = first.providerMetadata.google;
    const providerOptions = { google: { previousInteractionId: interactionId } };
    equal((await generateText({ model: talker, prompt: "second", providerOptions })).text, "You said: second");
    const stream = streamText({ model: talker, prompt: "third", providerOptions });
    equal(await stream.text, "You said: third");
  },
  "an error of the caller's own": async () => {
    await refused(404, () => generateText({ model: google("no-such-model"), prompt: "hello", maxRetries: 0 }));
  },
});
