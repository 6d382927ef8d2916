// One Chromium with WebGPU on SwiftShader, and the studio's tab in it, driven by pointer and keyboard as a person would.

import { chromium } from "playwright-core";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

// As soon as a page presents a WebGPU canvas all of these are needed: without any one of them the device dies.
const WEBGPU = [
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-vulkan=swiftshader",
  "--use-angle=swiftshader",
];
const QUIET = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// How many times slower than it should be the machine may be, for waits and for bars of time: other work on it must not turn a test red. 1 judges an idle
// machine by the bars themselves.
export const PATIENCE = Number(process.env.ADMIX_PATIENCE ?? 3);

export const SIZE = { width: 1280, height: 820 };

// A browser with a new, empty profile: nothing is cached and nothing is kept.
export async function open({ webgpu = true, size = SIZE, dark = false } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "admix-browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.ADMIX_CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [...QUIET, ...(webgpu ? WEBGPU : ["--disable-features=WebGPU", "--disable-gpu"])],
    viewport: size,
    acceptDownloads: true,
    colorScheme: dark ? "dark" : "light",
  });
  await context.addInitScript(watch);
  const page = context.pages()[0] ?? await context.newPage();
  return new Tab(context, page, profile);
}

// Runs in the page before anything else.
function watch() {
  window.seen = { longTasks: [], errors: [], devices: [] };
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.seen.longTasks.push({ start: task.startTime, ms: task.duration });
  }).observe({ type: "longtask", buffered: true });
  addEventListener("error", (event) => window.seen.errors.push(String(event.message)));
  addEventListener("unhandledrejection", (event) => window.seen.errors.push(String(event.reason)));
  // A person cannot break a device; a test must.
  if (window.GPUAdapter) {
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...options) {
      const device = await request.apply(this, options);
      window.seen.devices.push(device);
      return device;
    };
  }
}

export class Tab {
  constructor(context, page, profile) {
    Object.assign(this, { context, page, profile, log: [] });
    page.on("console", (message) => this.log.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => this.log.push(`pageerror: ${error.message}`));
  }

  async close() {
    await this.context.close();
    await rm(this.profile, { recursive: true, force: true });
  }

  // Loads the page and waits until the studio draws.
  async load(url) {
    await this.page.goto(url);
    await this.ready();
  }

  async ready() {
    await this.page.waitForFunction(() => window.admix || !document.getElementById("failed").hidden, null, { timeout: 60_000 * PATIENCE });
    const failure = await this.page.evaluate(() => document.getElementById("failed").hidden ? null : document.getElementById("reason").textContent);
    if (failure) throw new Error(`the page says: ${failure}\n${this.log.join("\n")}`);
    await this.until("the studio", () => { try { return admix.state(); } catch { return null; } }, 60);
  }

  state() {
    return this.page.evaluate(() => admix.state());
  }

  // Waits until `look`, a function for the page, gives something true, and returns it. Looks often: times are taken from it.
  async until(what, look, seconds = 60, argument = undefined) {
    try {
      const handle = await this.page.waitForFunction(look, argument, { timeout: seconds * 1000 * PATIENCE, polling: 50 });
      return await handle.jsonValue();
    } catch (error) {
      const state = await this.page.evaluate(() => { try { return admix.state(); } catch (e) { return String(e); } }).catch(String);
      if (state.shelf) state.shelf = state.shelf.filter((item) => !item.builtin);
      throw new Error(`${what} did not come within ${seconds * PATIENCE} s: ${error.message.split("\n")[0]}\nstate: ${JSON.stringify(state)}\nlog: ${this.log.slice(-20).join("\n")}`);
    }
  }

  // The same for a `look` that returns a promise, which `waitForFunction` would take for something true.
  async untilResolved(what, look, seconds = 60, argument = undefined) {
    const end = Date.now() + seconds * 1000 * PATIENCE;
    while (!(await this.page.evaluate(look, argument))) {
      if (Date.now() > end) throw new Error(`${what} did not come within ${seconds * PATIENCE} s\nlog: ${this.log.slice(-20).join("\n")}`);
      await new Promise((next) => setTimeout(next, 200));
    }
  }

  // The control of a name, once it is on the screen and has stopped moving.
  async control(label, seconds = 20) {
    const find = (label) => {
      try {
        const found = (admix.controls() ?? []).find((c) => (c.label === label || c.label.startsWith(`${label}:`)) && !c.disabled);
        const before = window.seen.last;
        window.seen.last = found && { label, ...found };
        return found && before?.label === window.seen.last.label && before.x === found.x && before.y === found.y ? found : null;
      } catch { return null; }
    };
    return this.until(`the control ${label}`, find, seconds, label);
  }

  async click(label) {
    const at = await this.control(label);
    await this.page.mouse.move(at.x + at.width / 2, at.y + at.height / 2);
    await this.page.mouse.down();
    await this.page.mouse.up();
  }

  // Makes a picture with the button and gives its number.
  async make(seconds = 60) {
    const before = (await this.state()).history.at(-1)?.id ?? 0;
    await this.click("Make image");
    return this.picture(before, seconds);
  }

  // The number of the first finished picture after `before`, once nothing is being made any more.
  picture(before, seconds = 60) {
    return this.until("a picture", (before) => {
      const state = admix.state();
      return !state.busy && state.history.find((entry) => entry.id > before)?.id;
    }, seconds, before);
  }

  // The PNG of a history entry.
  async png(id) {
    return Buffer.from(await this.page.evaluate((id) => Array.from(admix.picture(id)), id));
  }

  // Drops files from the disk onto the canvas, through the browser's own drag and drop.
  async drop(...files) {
    const cdp = await this.context.newCDPSession(this.page);
    const data = { items: [], files, dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await cdp.send("Input.dispatchDragEvent", { type, x: SIZE.width / 2, y: SIZE.height / 2, data });
    }
    await cdp.detach();
  }

  longTasks(since = 0) {
    return this.page.evaluate((since) => window.seen.longTasks.filter((task) => task.start >= since), since);
  }

  now() {
    return this.page.evaluate(() => performance.now());
  }
}

// Takes a recipe's settings and waits until they are the studio's.
export async function set(tab, recipe) {
  await tab.page.evaluate((recipe) => admix.open(recipe), recipe);
  const wanted = { base: recipe.base.ref, merge: recipe.merge?.length ?? 0, adapters: recipe.adapters?.length ?? 0, sample: recipe.sample ?? {} };
  await tab.until("the settings", (wanted) => {
    const { base, merge = [], adapters = [], sample } = admix.state().recipe;
    return base.ref === wanted.base && merge.length === wanted.merge && adapters.length === wanted.adapters
      // What says no more than the default the studio may leave out.
      && Object.entries(wanted.sample).every(([name, value]) => typeof value === "object" || sample[name] === undefined || sample[name] === value);
  }, 20, wanted);
}
