// Files far larger than the tab's memory, and files it writes.

import assert from "node:assert/strict";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { figure, within } from "./lib/figures.mjs";
import { admix } from "./lib/native.mjs";
import { write } from "./lib/sd15.mjs";
import { Server } from "./lib/server.mjs";
import { open, PATIENCE, set } from "./lib/tab.mjs";

// WebAssembly memory, whatever the file's size.
const MOST_MEMORY = 400;

const MIX = {
  admix: 1,
  base: { ref: "builtin:mini" },
  merge: [{ method: "weighted_sum", models: [{ ref: "builtin:twemoji", weight: 0.3 }] }],
  adapters: [{ ref: "builtin:pixel", weight: 0.5 }],
};

async function mixed(shared, name, setup) {
  const { tab } = shared;
  await tab.page.evaluate(setup);
  await set(tab, MIX);
  await tab.control("Export");
  await tab.until("rest", () => !admix.state().busy);
  const download = tab.page.waitForEvent("download", { timeout: 120_000 * PATIENCE }).catch(() => null);
  await tab.click("Export");
  const start = Date.now();
  await tab.until("the export", () => admix.state().notices.some((n) => n.title.startsWith("Exported")), 120);
  figure(`an export of the built-in model (${name})`, (Date.now() - start) / 1000, "s");
  return { download, name };
}

export default {
  "2 GB: the card comes from the header": async (shared) => {
    shared.folder = await mkdtemp(join(tmpdir(), "admix-files-"));
    shared.server = new Server(process.env.ADMIX_DIST);
    shared.url = await shared.server.start();
    const tab = shared.tab = await open();
    await tab.load(shared.url);
    await tab.control("Make image");
    const file = join(shared.folder, "sd15.safetensors");
    const { bytes } = await write(file);
    assert.ok(bytes > 2e9);
    const start = Date.now();
    await tab.drop(file);
    const item = await tab.until("its card", () => admix.state().shelf.find((i) => i.reference === "drop:sd15.safetensors" && i.read));
    const seconds = (Date.now() - start) / 1000;
    within("card of a checkpoint of 2.1 GB", seconds, "s", 1);
    assert.ok(item.sound && !item.adapter && item.line.includes("1.07 B"), JSON.stringify(item));
  },

  "2 GB: tensor by tensor to the device": async (shared) => {
    const { tab } = shared;
    const sample = { prompt: "a cat", steps: 1, cfg: 1, width: 64, height: 64, seed: 1 };
    await set(tab, { admix: 1, base: { ref: "drop:sd15.safetensors" }, sample });
    const start = Date.now();
    await tab.page.evaluate(() => admix.make());
    // Once the prompt is read all 1,130 tensors were read, checked and packed. What follows is arithmetic that a processor takes minutes for.
    await tab.until("all weights on the device", () => {
      const { live, notices } = admix.state();
      const failed = notices.find((n) => n.level === "error");
      if (failed) throw new Error(failed.title);
      return ["text", "step", "decode"].includes(live?.stage);
    }, 240);
    figure("a checkpoint of 2.1 GB to the device, hashed and packed", (Date.now() - start) / 1000, "s");
    const memory = await tab.page.evaluate(() => admix.memory() / 1e6);
    within("WebAssembly memory after it", memory, "MB", MOST_MEMORY);
    await tab.page.keyboard.press("Escape");
    await tab.close();
    // The device still works on the step that was submitted: a new tab for what follows.
    shared.tab = await open();
    await shared.tab.load(shared.url);
  },

  "an export is the file that `admix mix` writes": async (shared) => {
    const { tab } = shared;
    // A first picture opens the panels.
    await set(tab, { admix: 1, base: { ref: "builtin:mini" }, sample: { prompt: "red apple", steps: 2, seed: 1 } });
    await tab.make();
    // Where the browser has no save dialog: a file of the page's own, then a download.
    const { download } = await mixed(shared, "download", () => { delete window.showSaveFilePicker; window.showSaveFilePicker = undefined; });
    const given = await download;
    assert.ok(given, "the browser got no download");
    const written = join(shared.folder, "tab.safetensors");
    await given.saveAs(written);
    const recipe = join(shared.folder, "mix.json");
    const native = join(shared.folder, "native.safetensors");
    await writeFile(recipe, JSON.stringify(MIX));
    await admix("mix", recipe, "--out", native);
    const [a, b] = [await readFile(written), await readFile(native)];
    const length = Number(b.readBigUInt64LE());
    const header = (bytes) => {
      const { __metadata__, ...tensors } = JSON.parse(bytes.toString("utf8", 8, 8 + Number(bytes.readBigUInt64LE())));
      // The tab's recipe says how to make the picture, too.
      delete __metadata__.admix_recipe;
      return { __metadata__, tensors };
    };
    assert.deepEqual(header(a), header(b));
    const data = (bytes) => bytes.subarray(8 + Number(bytes.readBigUInt64LE()));
    const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
    if (hash(data(a)) !== hash(data(b))) {
      const [x, y] = [new Uint16Array(data(a).slice().buffer), new Uint16Array(data(b).slice().buffer)];
      const different = x.reduce((n, v, i) => n + (v !== y[i]), 0);
      assert.fail(`${different} of ${x.length} values differ from the native file's (header ${length})`);
    }
    shared.exported = data(a);
  },

  "the save dialog's file is written in place": async (shared) => {
    const { tab } = shared;
    // The dialog is the browser's own and cannot be clicked; what it gives is a handle like this one.
    await tab.page.reload();
    await tab.ready();
    await mixed(shared, "picker", () => {
      window.showSaveFilePicker = async (options) => {
        window.seen.suggested = options.suggestedName;
        return (await navigator.storage.getDirectory()).getFileHandle("chosen.safetensors", { create: true });
      };
    });
    const bytes = Buffer.from(await tab.page.evaluate(async () => {
      const file = await (await (await navigator.storage.getDirectory()).getFileHandle("chosen.safetensors")).getFile();
      const text = await new Promise((resolve) => { const r = new FileReader(); r.onload = () => resolve(r.result); r.readAsDataURL(file); });
      return text.split(",")[1];
    }), "base64");
    assert.match(await tab.page.evaluate(() => window.seen.suggested), /\.safetensors$/);
    const data = bytes.subarray(8 + Number(bytes.readBigUInt64LE()));
    assert.ok(data.equals(shared.exported), "the same mix, the same bytes");
  },
};
