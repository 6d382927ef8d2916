// A picture of the tab for the README: a mix of two models with an adapter, in the middle of a person's work.

import { writeFile } from "node:fs/promises";
import { Server } from "./lib/server.mjs";
import { open, set } from "./lib/tab.mjs";

const out = process.argv[2];
if (!out || !process.env.ADMIX_DIST) throw new Error("ADMIX_DIST=dist node screenshot.mjs OUT.png");

const server = new Server(process.env.ADMIX_DIST);
const tab = await open();
try {
  await tab.load(await server.start());
  const base = { admix: 1, base: { ref: "builtin:mini" } };
  const sample = { steps: 20, seed: 7 };
  for (const prompt of ["rocket", "red apple", "cat face"]) {
    await set(tab, { ...base, sample: { ...sample, prompt } });
    await tab.make();
  }
  const merge = [{ method: "weighted_sum", models: [{ ref: "builtin:twemoji", weight: 0.4 }] }];
  const adapters = [{ ref: "builtin:neon", weight: 0.6 }];
  await set(tab, { ...base, merge, adapters, sample: { ...sample, prompt: "red apple" } });
  await tab.make();
  // Good news leaves after a while.
  await tab.page.mouse.move(640, 400);
  await tab.until("a quiet screen", () => admix.state().notices.length === 0, 30);
  await writeFile(out, await tab.page.screenshot());
} finally {
  await tab.close();
  await server.stop();
}
