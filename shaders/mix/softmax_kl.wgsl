// kl[first + row] = KL divergence of the softmax of a row of `model` from that of `base`, both plus 1e-8 (mergekit's arcee_fusion).
#include "mix/shared/powers"
struct Params { rows: u32, length: u32, shift: u32, first: u32, across: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> model: array<f32>;
@group(0) @binding(2) var<storage, read> base: array<f32>;
@group(0) @binding(3) var<storage, read_write> kl: array<f32>;
fn exact_exp(x: f32) -> f32 { return exact_exp2(x * 1.4426950408889634); }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let row = (wg.y * p.across + wg.x) * 64u + local;
  if (row >= p.rows) { return; }
  let start = p.shift + row * p.length;
  var top = vec2<f32>(model[start], base[start]);
  for (var k = 1u; k < p.length; k++) { top = max(top, vec2<f32>(model[start + k], base[start + k])); }
  var sum = vec2<f32>(0.0);
  for (var block = 0u; block < p.length; block += 64u) {
    var part = vec2<f32>(0.0);
    for (var k = block; k < min(block + 64u, p.length); k++) {
      part += vec2<f32>(exact_exp(model[start + k] - top.x), exact_exp(base[start + k] - top.y));
    }
    sum += part;
  }
  var total = 0.0;
  for (var block = 0u; block < p.length; block += 64u) {
    var part = 0.0;
    for (var k = block; k < min(block + 64u, p.length); k++) {
      let u = exact_exp(model[start + k] - top.x) / sum.x + 1e-8;
      let v = exact_exp(base[start + k] - top.y) / sum.y + 1e-8;
      part += u * (exact_log2(u / v) * 0.6931471805599453);
    }
    total += part;
  }
  kl[p.first + row] = max(total, 0.0);
}
