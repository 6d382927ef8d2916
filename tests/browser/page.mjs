// The page around the studio where the studio cannot run.

import assert from "node:assert/strict";
import { open } from "./lib/tab.mjs";
import { Server } from "./lib/server.mjs";

export default {
  "a browser without WebGPU is told which ones have it": async (shared) => {
    shared.server = new Server(process.env.ADMIX_DIST);
    const url = await shared.server.start();
    shared.tab = await open({ webgpu: false });
    await shared.tab.context.addInitScript(() => Object.defineProperty(navigator, "gpu", { value: undefined }));
    await shared.tab.page.goto(url);
    const sheet = shared.tab.page.locator("#no-webgpu");
    await sheet.waitFor({ state: "visible" });
    const text = await sheet.innerText();
    for (const browser of ["Chrome", "Edge", "Safari", "Firefox"]) assert.ok(text.includes(browser), `${browser} is not named: ${text}`);
    assert.ok(!shared.server.asked.some((path) => path.endsWith(".wasm")), "nothing large is loaded in vain");
  },
};
