// y = x + scale where the element's bit is set, x - scale where it is not. x, y: [rows, width]; bits: rows of `bytes` bytes, the lowest bit
// first, four bytes a word. One element a thread. Mirrors gpu/mix/src/change.rs.
struct Params { width: u32, bytes: u32, total: u32, row_groups: u32, scale: f32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> bits: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let row = at / p.width;
  let column = at - row * p.width;
  let byte = row * p.bytes + column / 8u;
  let bit = (bits[byte / 4u] >> (byte % 4u * 8u + column % 8u)) & 1u;
  y[at] = x[at] + select(-p.scale, p.scale, bit == 1u);
}
