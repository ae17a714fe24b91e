// openai for JavaScript, changed in nothing but its base URL and key.

import OpenAI from "openai";
import { Arrivals, EMBEDDER, equal, hold, MODEL, run, TOKEN, URL } from "../steps.mjs";

const client = new OpenAI({ apiKey: TOKEN, baseURL: `${URL}/v1` });
const SAID = "one two three four five six seven";
const ANSWER = `You said: ${SAID}`;
const messages = [{ role: "user", content: SAID }];

/** Usage is there and adds up. */
function used(usage) {
  hold(usage?.prompt_tokens && usage.completion_tokens, `no usage: ${JSON.stringify(usage)}`);
  equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
}

await run("JS openai", {
  "an answer in one piece": async () => {
    const answer = await client.chat.completions.create({ model: MODEL, messages });
    equal(answer.choices[0].message.content, ANSWER);
    equal(answer.choices[0].finish_reason, "stop");
    used(answer.usage);
  },
  "a stream in order": async () => {
    const arrivals = new Arrivals();
    let finish, usage;
    const stream_options = { include_usage: true };
    const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true, stream_options });
    for await (const chunk of stream) {
      for (const choice of chunk.choices) {
        arrivals.add(choice.delta.content);
        finish = choice.finish_reason ?? finish;
      }
      usage = chunk.usage ?? usage;
    }
    arrivals.are(ANSWER);
    equal(finish, "stop");
    used(usage);
  },
  "embeddings, in base64 by the client's own choice": async () => {
    const answer = await client.embeddings.create({ model: EMBEDDER, input: ["a", "b"], dimensions: 8 });
    equal(answer.data.map((one) => one.embedding.length), [8, 8]);
    const plain = await client.embeddings.create({
      model: EMBEDDER, input: "a", dimensions: 8, encoding_format: "float",
    });
    const near = plain.data[0].embedding.every((value, at) => Math.abs(value - answer.data[0].embedding[at]) < 1e-6);
    hold(near, "base64 and floats differ");
    hold(plain.data[0].embedding.some((value) => value !== 0), "the embedding is zero");
  },
  "the models": async () => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    hold(ids.includes(`models/${MODEL}`), `${MODEL} is not in ${ids}`);
  },
});
