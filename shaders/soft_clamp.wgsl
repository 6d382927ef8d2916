// y = 3 tanh(x / 3): a preview decoder's guard against outlying latents. Mirrors kernels/elementwise.rs.
struct Params { total: u32, row_groups: u32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  // tanh overflows in some drivers for large arguments; beyond 10 it is 1 to f32 precision.
  y[at] = 3.0 * tanh(clamp(x[at] / 3.0, vec4<f32>(-10.0), vec4<f32>(10.0)));
}
