// dst = src, four floats at a time: the device's own bandwidth, beside which merges and norms are shown. Mirrors gpu/engine/src/bench.rs.
struct Params { count: u32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (i < p.count) { dst[i] = src[i]; }
}
