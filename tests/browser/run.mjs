// The tab in a real Chromium: `cargo xtask test browser`, or by hand
//   ADMIX_DIST=dist ADMIX_BIN=target/release/admix node tests/browser/run.mjs [PART]...

import { access } from "node:fs/promises";
import { print } from "./lib/figures.mjs";

const PARTS = ["page", "studio", "stylus", "files", "recovery", "offline"];

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !PARTS.includes(name));
if (unknown) throw new Error(`there is no part ${unknown}; the parts are ${PARTS.join(", ")}`);
for (const name of ["ADMIX_DIST", "ADMIX_BIN"]) await access(process.env[name] ?? `(${name} is not set)`);

let failed = 0;
// A part is a list of steps on one tab; after a failed one the rest would only say the same.
async function part(name) {
  const { default: steps } = await import(`./${name}.mjs`);
  const shared = {};
  try {
    for (const [what, step] of Object.entries(steps)) {
      const start = Date.now();
      try {
        await step(shared);
        console.log(`ok      ${name}: ${what} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED  ${name}: ${what} (${((Date.now() - start) / 1000).toFixed(1)} s)\n${error.stack}`);
        if (shared.tab) {
          const shot = `${process.env.ADMIX_OUT ?? "."}/browser-${name}.png`;
          await shared.tab.page.screenshot({ path: shot }).then(() => console.log(`see ${shot}`), () => {});
        }
        return;
      }
    }
  } finally {
    await shared.tab?.close().catch(() => {});
    await shared.server?.stop().catch(() => {});
  }
}

for (const name of PARTS.filter((name) => wanted.length === 0 || wanted.includes(name))) await part(name);
print();
process.exitCode = failed > 0 ? 1 : 0;
