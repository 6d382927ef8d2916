// value * gelu(gate) where columns come in groups of four values and four gates. Mirrors Recorder::glu_gate in kernels/elementwise.rs.
#include "shared/activation"
struct Params { ldx4: u32, ldy4: u32, total: u32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let row = at / p.ldy4;
  let col = at - row * p.ldy4;
  let source = row * p.ldx4 + col * 2u;
  y[at] = x[source] * gelu(x[source + 1u]);
}
