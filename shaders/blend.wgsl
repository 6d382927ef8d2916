// x = mask x + (1 - mask) (b B + c C), element-wise: what stays of a picture while the rest is painted anew. Mirrors kernels/blend.rs.
struct Params { b: f32, c: f32, total: u32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> mask: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kept: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> noise: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let m = mask[at];
  x[at] = m * x[at] + (1.0 - m) * (p.b * kept[at] + p.c * noise[at]);
}
