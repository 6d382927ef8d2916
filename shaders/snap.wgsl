// x = the nearest multiple of q, a power of two, element-wise: sums of such numbers are exact, so that they can be undone. Mirrors kernels/snap.rs.
struct Params { q: f32, inverse: f32, total: u32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  x[at] = round(x[at] * p.inverse) * p.q;
}
