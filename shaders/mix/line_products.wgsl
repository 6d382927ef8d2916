// sums[3 (first + line) + ..] = a.b, a.a, b.b along `count` lines of `length` elements: element k of a line at shift + line * line_step + k * step.
// Mirrors gpu/mix/src/methods/lines.rs. `adds` 1: to what is there. Sums run in blocks of 64, so that rounding errors stay small on long lines.
struct Params { count: u32, length: u32, line_step: u32, step: u32, shift: u32, first: u32, adds: u32, across: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let line = (wg.y * p.across + wg.x) * 64u + local;
  if (line >= p.count) { return; }
  var total = vec3<f32>(0.0);
  for (var block = 0u; block < p.length; block += 64u) {
    var part = vec3<f32>(0.0);
    for (var k = block; k < min(block + 64u, p.length); k++) {
      let at = p.shift + line * p.line_step + k * p.step;
      let x = a[at];
      let y = b[at];
      part += vec3<f32>(x * y, x * x, y * y);
    }
    total += part;
  }
  let at = 3u * (p.first + line);
  if (p.adds == 1u) { total += vec3<f32>(sums[at], sums[at + 1u], sums[at + 2u]); }
  sums[at] = total.x;
  sums[at + 1u] = total.y;
  sums[at + 2u] = total.z;
}
