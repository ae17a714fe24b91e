// The steps of one client: each a function with a name; one line on standard output for each.

export const MODEL = "gemini-3.8-flash";
export const EMBEDDER = "gemini-embedding-2";
export const TALKER = "gemini-3.8-live";
export const PAINTER = "gemini-3.1-flash-image";
export const URL = process.env.GEMINATE_URL;
export const TOKEN = process.env.GEMINATE_TOKEN;
/** What stands in each project before the clients come: its names of one file, one cache and one batch. */
export const SEEDS = JSON.parse(process.env.SEEDS ?? "[]");
// As the mock was told: so many frames in a streamed answer, and so long between two.
const FRAMES = Number(process.env.MOCK_FRAMES);
const FRAME_PAUSE_MS = Number(process.env.MOCK_FRAME_PAUSE_S) * 1000;

/** Takes every step, whatever became of those before it. */
export async function run(client, steps) {
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      console.log(`ok ${client}: ${name}`);
    } catch (error) {
      console.log(`failed ${client}: ${name}\n${error.stack ?? error}`);
    }
  }
}

/** Holds `found` equal to `wanted`, and says both where it is not. */
export function equal(found, wanted) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`found ${left}, wanted ${right}`);
}

/** Holds what must be true, with what is said where it is not. */
export function hold(truth, otherwise) {
  if (!truth) throw new Error(otherwise);
}

/** Holds that an action is refused with a status. */
export async function refused(status, action) {
  try {
    await action();
  } catch (error) {
    return equal(error.status ?? error.statusCode, status);
  }
  throw new Error("not refused");
}

/** All that a list or a stream has. */
export async function all(many) {
  const found = [];
  for await (const one of many) found.push(one);
  return found;
}

/** What a stream brought, and when. */
export class Arrivals {
  pieces = [];
  times = [];

  /** One chunk with text. */
  add(piece) {
    this.pieces.push(piece);
    this.times.push(performance.now());
  }

  /** Every frame came on its own and in order, about as the upstream sent them: a busy machine may delay the first. */
  are(text) {
    equal(this.pieces.join(""), text);
    equal(this.pieces.length, FRAMES);
    const spread = this.times.at(-1) - this.times[0];
    hold(spread >= (FRAME_PAUSE_MS * (FRAMES - 1)) / 4, `the stream came in one piece: all within ${spread} ms`);
  }
}
