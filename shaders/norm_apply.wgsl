// y = activation((x - mean) rstd gamma + beta), written into a picture whose pixel (top, left) is x's first, zero where x has none, so that a
// convolution can follow without bounds checks. x may be a strip of rows: then only y's pixels from `first` on are written, and top may have
// wrapped below 0. Four channels a thread. Mirrors kernels/group_norm.rs.
#include "shared/activation"

struct Params {
  h: u32, w: u32, out_w: u32, out_hw: u32,
  ld4: u32, c: u32, groups: u32, per_group: u32,
  left: u32, act: u32, total: u32, row_groups: u32,
  top: u32, first: u32, pad0: u32, pad1: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let nth = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (nth >= p.total) { return; }
  let at = p.first * p.ld4 + nth;
  let pixel = at / p.ld4;
  let c4 = at - pixel * p.ld4;
  let sample = pixel / p.out_hw;
  let q = pixel - sample * p.out_hw;
  let oy = q / p.out_w;
  let ox = q - oy * p.out_w;
  // Wraps below the border; one comparison then covers both sides.
  let iy = oy - p.top;
  let ix = ox - p.left;
  if (iy >= p.h || ix >= p.w) {
    y[at] = vec4<f32>(0.0);
    return;
  }
  let v = x[((sample * p.h + iy) * p.w + ix) * p.ld4 + c4];
  let c = c4 * 4u;
  let first = sample * p.groups;
  // Channels past c are padding: gamma and beta are 0 there, so the result is 0.
#for i 4
  let s$i = stats[first + min((c + $iu) / p.per_group, p.groups - 1u)];
#end
  let mean = vec4<f32>(s0.x, s1.x, s2.x, s3.x);
  let rstd = vec4<f32>(s0.y, s1.y, s2.y, s3.y);
  y[at] = activate((v - mean) * rstd * gamma[c4] + beta[c4], p.act);
}
