// The graphics device goes away: the tab says so, opens another, and what was made is still there.

import assert from "node:assert/strict";
import { Server } from "./lib/server.mjs";
import { open, set } from "./lib/tab.mjs";
import { copyFile, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export default {
  "a lost device is opened anew and the work is kept": async (shared) => {
    shared.server = new Server(process.env.ADMIX_DIST);
    const url = await shared.server.start();
    const tab = shared.tab = await open();
    await tab.load(url);
    await set(tab, { admix: 1, base: { ref: "builtin:mini" }, sample: { prompt: "a blue cat", steps: 4, seed: 3 } });
    await tab.make();
    const file = join(await mkdtemp(join(tmpdir(), "admix-files-")), "dropped.safetensors");
    await copyFile(new URL("../../assets/adapters/neon.safetensors", import.meta.url).pathname, file);
    await tab.drop(file);
    await tab.until("its card", () => admix.state().shelf.find((i) => i.reference === "drop:dropped.safetensors" && i.read));
    const before = await tab.state();
    // In the middle of a render, which is when devices are lost.
    await set(tab, { admix: 1, base: { ref: "builtin:mini" }, sample: { prompt: "a green cat", steps: 20, seed: 4 } });
    await tab.page.evaluate(() => admix.make());
    await tab.until("a step", () => admix.state().live?.stage === "step");
    await tab.page.evaluate(() => window.seen.devices.at(-1).destroy());
    await tab.until("word of it", () => {
      try { return window.seen.devices.length === 2 && admix.state().notices.some((n) => n.title.includes("graphics device was lost")); } catch { return false; }
    }, 30);
    const after = await tab.state();
    assert.deepEqual(after.history, before.history);
    assert.equal(after.recipe.sample.prompt, "a green cat");
    await tab.until("the dropped file", () => admix.state().shelf.find((i) => i.reference === "drop:dropped.safetensors" && i.read && i.sound));
    await set(tab, { admix: 1, base: { ref: "builtin:mini" }, sample: { prompt: "a green cat", steps: 4, seed: 4 } });
    await tab.make();
    assert.deepEqual((await tab.state()).notices.filter((n) => n.level === "error"), []);
  },
};
