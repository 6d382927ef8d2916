// The page without a network, and the page after an update.

import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, readdir, rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server } from "./lib/server.mjs";
import { open, set } from "./lib/tab.mjs";

// Another build: the same program under other names, as a changed one would have them.
async function another(dist) {
  const folder = await mkdtemp(join(tmpdir(), "admix-dist-"));
  await cp(dist, folder, { recursive: true });
  const [, hash] = (await readdir(folder)).join(" ").match(/-([0-9a-f]+)_bg\.wasm/);
  const other = [...hash].reverse().join("");
  for (const name of await readdir(folder)) {
    if (name.includes(hash)) await rename(join(folder, name), join(folder, name.replace(hash, other)));
  }
  for (const name of ["index.html", "sw.js"]) {
    const text = await readFile(join(folder, name), "utf8");
    const version = text.match(/const VERSION = "(\w+)"/)?.[1];
    await writeFile(join(folder, name), text.replaceAll(hash, other).replaceAll(version ?? hash, "anotherversion"));
  }
  return { folder, hash, other };
}

const wasm = (tab) => tab.page.evaluate(() => performance.getEntriesByType("resource").map((e) => e.name).find((name) => name.endsWith(".wasm")));

export default {
  "after one visit the page works without a network": async (shared) => {
    const server = shared.server = new Server(process.env.ADMIX_DIST);
    const url = shared.url = await server.start();
    const tab = shared.tab = await open();
    await tab.load(url);
    await tab.page.evaluate(() => navigator.serviceWorker.ready);
    // Models are kept in the background after the page itself.
    const worker = await readFile(join(process.env.ADMIX_DIST, "sw.js"), "utf8");
    const assets = JSON.parse(worker.match(/const ASSETS = (\[.*\]);/)[1]);
    assert.ok(assets.some((path) => path.includes("/vae/")), assets);
    await tab.untilResolved("all models in the cache", async (assets) => {
      const keys = (await (await caches.open("admix-assets")).keys()).map((request) => request.url);
      return assets.every((path) => keys.some((key) => key.endsWith(`/${path}`)));
    }, 60, assets);
    await server.stop();
    await tab.page.reload();
    await tab.ready();
    await set(tab, { admix: 1, base: { ref: "builtin:mini" }, sample: { prompt: "red apple", steps: 2, seed: 1 } });
    await tab.make();
    await server.start(server.port);
  },

  "an update is shown at once, and then works without a network too": async (shared) => {
    const { tab, server } = shared;
    const { folder, hash, other } = await another(process.env.ADMIX_DIST);
    assert.ok((await wasm(tab)).includes(hash));
    server.folder = folder;
    await tab.page.reload();
    await tab.ready();
    assert.ok((await wasm(tab)).includes(other), "the new program runs, not the one in the cache");
    await tab.untilResolved("the old program gone from the cache", async (hash) => {
      const names = await caches.keys();
      const keys = (await Promise.all(names.map(async (name) => (await (await caches.open(name)).keys()).map((r) => r.url)))).flat();
      return names.includes("admix-shell-anotherversion") && !keys.some((key) => key.includes(hash));
    }, 30, hash);
    await server.stop();
    await tab.page.reload();
    await tab.ready();
    assert.ok((await wasm(tab)).includes(other));
    await server.start(server.port);
  },
};
