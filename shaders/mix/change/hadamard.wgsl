// y = x + a * b, element by element. One element a thread. Mirrors gpu/mix/src/change.rs.
struct Params { total: u32, row_groups: u32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  y[at] = x[at] + a[at] * b[at];
}
