// Adapters for the prompt's words, as a person types: a proposal, a click, an undo; a dropped adapter; a card that stays edited.

import assert from "node:assert/strict";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { figure, within } from "./lib/figures.mjs";
import { Server } from "./lib/server.mjs";
import { open, set } from "./lib/tab.mjs";

const NEON = new URL("../../assets/adapters/neon.safetensors", import.meta.url);
// Bars of the answer to a typed prompt once the words are here, and of one task of the page's thread.
const ANSWER = 1;
const LONGEST_TASK = 100;

// An adapter of other tensors than the built-in ones that states a trigger of its own and is too large to be hashed on the way.
async function adapter(trigger) {
  const bytes = await readFile(NEON);
  const length = Number(bytes.readBigUInt64LE(0));
  const head = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  const data = bytes.subarray(8 + length);
  const more = Buffer.alloc(600 * 1024, 7);
  head["zz.alpha"] = { dtype: "U8", shape: [more.length], data_offsets: [data.length, data.length + more.length] };
  head.__metadata__ = { "modelspec.title": "A made up thing", "modelspec.trigger_phrase": trigger };
  const text = Buffer.from(JSON.stringify(head));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, data, more]);
}

async function write(tab, field, text) {
  await tab.click(field);
  await tab.page.keyboard.press("Control+a");
  await tab.page.keyboard.type(text);
}

const offered = (tab, reference) => tab.until(`an offer of ${reference}`, (reference) => admix.state().offers.find((o) => o.reference === reference), 30, reference);

const prompted = (prompt) => ({ admix: 1, base: { ref: "builtin:mini" }, sample: { prompt, steps: 4, seed: 3 } });

export default {
  "a typed prompt gets a proposal": async (shared) => {
    shared.folder = await mkdtemp(join(tmpdir(), "admix-files-"));
    shared.server = new Server(process.env.ADMIX_DIST);
    const tab = shared.tab = await open();
    await tab.load(await shared.server.start());
    await tab.control("Make image");
    await write(tab, "Prompt", "");
    // The first click has work of its own, with or without cards.
    await tab.page.waitForTimeout(2000);
    const before = await tab.now();
    await tab.page.keyboard.type("red apple in aquarelle");
    const start = Date.now();
    const offer = await offered(tab, "builtin:watercolour");
    figure("first proposal, word vectors and cards fetched", (Date.now() - start) / 1000, "s");
    assert.deepEqual([offer.words, offer.span, offer.weight], ["aquarelle", [13, 22], 0.8]);
    assert.equal((await tab.state()).recipe.adapters, undefined, "nothing is turned on by itself");
    await tab.page.waitForTimeout(1000);
    const longest = Math.max(0, ...(await tab.longTasks(before)).map((task) => task.ms));
    within("longest task of the page's thread while cards are read", longest, "ms", LONGEST_TASK);
    // From now on the answer is a matter of the prompt alone.
    await tab.page.keyboard.type(", neon");
    const again = Date.now();
    await offered(tab, "builtin:neon");
    within("a proposal once everything is here", (Date.now() - again) / 1000, "s", ANSWER);
    assert.deepEqual(await tab.page.evaluate(() => window.seen.errors), []);
  },

  "the pointer on it brings it with and without": async ({ tab }) => {
    const chip = await tab.control("+ watercolour");
    await tab.page.mouse.move(chip.x + chip.width / 2, chip.y + chip.height / 2);
    await tab.control("Add watercolour");
    await tab.page.mouse.move(640, 300);
    await tab.until("its end", () => !(admix.controls() ?? []).some((c) => c.label === "Add watercolour"));
  },

  "a click adds it and one undo takes it out": async ({ tab }) => {
    const prompt = (await tab.state()).recipe.sample.prompt;
    await tab.click("+ watercolour");
    const { adapters, sample } = await tab.until("the row", () => admix.state().recipe.adapters && admix.state().recipe);
    assert.deepEqual(adapters.map((a) => [a.ref, a.weight]), [["builtin:watercolour", 0.8]]);
    assert.equal(sample.prompt, `${prompt}, watercolour`, "its trigger");
    await tab.click("Undo (Ctrl+Z)");
    await tab.until("the settings before", (prompt) => !admix.state().recipe.adapters && admix.state().recipe.sample.prompt === prompt, 20, prompt);
  },

  "a dropped adapter is proposed by its own trigger": async (shared) => {
    const { tab } = shared;
    const file = join(shared.folder, "thing.safetensors");
    await writeFile(file, await adapter("zorgon"));
    await set(tab, prompted("red apple, zorgon"));
    await tab.until("no offer", () => admix.state().offers.length === 0);
    await tab.drop(file);
    const offer = await offered(tab, "drop:thing.safetensors");
    assert.equal(offer.words, "zorgon");
  },

  "an edited card is still edited after a reload": async ({ tab }) => {
    // The card of a dropped file grows as it is read.
    await tab.control("Edit card");
    await tab.page.waitForTimeout(2000);
    await tab.click("Edit card");
    // Found by what stands in it: its name is a label beside it.
    const field = await tab.until("the triggers", () => (admix.controls() ?? []).find((c) => c.value === "zorgon"));
    await tab.page.mouse.click(field.x + field.width / 2, field.y + field.height / 2);
    await tab.page.keyboard.press("Control+a");
    await tab.page.keyboard.type("quibble");
    await tab.click("Keep");
    await set(tab, prompted("red apple, quibble"));
    await offered(tab, "drop:thing.safetensors");
    // Settings are written every five seconds.
    await tab.page.waitForTimeout(6000);
    await tab.page.reload();
    await tab.ready();
    await write(tab, "Prompt", "blue house, quibble");
    const offer = await offered(tab, "drop:thing.safetensors");
    assert.equal(offer.words, "quibble");
    assert.ok(!(await tab.page.evaluate(() => admix.state().offers.some((o) => o.words === "zorgon"))));
  },
};
