// @google/genai, changed in nothing but its base URL and key.

import { GoogleGenAI } from "@google/genai";
import { Arrivals, EMBEDDER, equal, hold, MODEL, run, TOKEN, URL } from "../steps.mjs";

const client = new GoogleGenAI({ apiKey: TOKEN, httpOptions: { baseUrl: URL } });
const SAID = "one two three four five six seven";
const ANSWER = `You said: ${SAID}`;

/** Usage is there and adds up. */
function used(usage) {
  hold(usage?.promptTokenCount && usage.candidatesTokenCount, `no usage: ${JSON.stringify(usage)}`);
  equal(usage.totalTokenCount, usage.promptTokenCount + usage.candidatesTokenCount);
}

/** A finished answer with its usage. */
function whole(answer, text) {
  equal(answer.text, text);
  equal(answer.candidates[0].finishReason, "STOP");
  used(answer.usageMetadata);
}

await run("JS @google/genai", {
  "an answer in one piece": async () => {
    whole(await client.models.generateContent({ model: MODEL, contents: SAID }), ANSWER);
  },
  "a stream in order": async () => {
    const arrivals = new Arrivals();
    let last;
    for await (last of await client.models.generateContentStream({ model: MODEL, contents: SAID })) {
      arrivals.add(last.text);
    }
    arrivals.are(ANSWER);
    equal(last.candidates[0].finishReason, "STOP");
    used(last.usageMetadata);
  },
  "twenty at once": async () => {
    const ask = async (number) => {
      const said = `number ${number}`;
      whole(await client.models.generateContent({ model: MODEL, contents: said }), `You said: ${said}`);
    };
    await Promise.all(Array.from({ length: 20 }, (_, number) => ask(number)));
  },
  "a chat that remembers": async () => {
    const chat = client.chats.create({ model: MODEL });
    whole(await chat.sendMessage({ message: "first" }), "You said: first");
    let text = "";
    for await (const chunk of await chat.sendMessageStream({ message: "second" })) text += chunk.text;
    equal(text, "You said: second");
    equal(chat.getHistory().slice(0, 2).map((content) => content.role), ["user", "model"]);
  },
  "counted tokens": async () => {
    equal((await client.models.countTokens({ model: MODEL, contents: "12345678" })).totalTokens, 2);
  },
  embeddings: async () => {
    const config = { outputDimensionality: 8 };
    const answer = await client.models.embedContent({ model: EMBEDDER, contents: ["a", "b"], config });
    hold(answer.embeddings?.length, "no embeddings");
    for (const one of answer.embeddings) equal(one.values.length, 8);
  },
  "the models": async () => {
    const names = [];
    for await (const model of await client.models.list()) names.push(model.name);
    hold(names.includes(`models/${MODEL}`), `${MODEL} is not in ${names}`);
    equal((await client.models.get({ model: MODEL })).name, `models/${MODEL}`);
  },
});
