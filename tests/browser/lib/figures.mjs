// What was measured, printed at the end.

import assert from "node:assert/strict";
import { PATIENCE } from "./tab.mjs";

const figures = [];

export function figure(name, value, unit) {
  figures.push({ name, value, unit });
}

// A figure with the most it may be. Times are given so much room as waits are (ADMIX_PATIENCE); memory has none.
export function within(name, value, unit, bar) {
  figures.push({ name, value, unit, bar });
  const most = unit === "MB" ? bar : bar * PATIENCE;
  assert.ok(value <= most, `${name}: ${value} ${unit}, at most ${bar} are wanted and ${most} allowed`);
}

export function print() {
  if (figures.length === 0) return;
  console.log("\nMeasured in Chromium with WebGPU on SwiftShader:");
  for (const { name, value, unit, bar } of figures) {
    const limit = bar === undefined ? "" : `  (at most ${bar}${value > bar ? ": OVER" : ""})`;
    console.log(`  ${name.padEnd(52)} ${value.toFixed(value < 10 ? 2 : 0).padStart(8)} ${unit}${limit}`);
  }
}
