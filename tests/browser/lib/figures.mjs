// What was measured, printed at the end.

const figures = [];

export function figure(name, value, unit, bar) {
  figures.push({ name, value, unit, bar });
}

export function print() {
  if (figures.length === 0) return;
  console.log("\nMeasured in Chromium with WebGPU on SwiftShader:");
  for (const { name, value, unit, bar } of figures) {
    const limit = bar === undefined ? "" : `  (at most ${bar})`;
    console.log(`  ${name.padEnd(52)} ${value.toFixed(value < 10 ? 2 : 0).padStart(8)} ${unit}${limit}`);
  }
}
