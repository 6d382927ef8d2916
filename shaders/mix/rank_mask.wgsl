// Bit `model` of the mask is set where an element of `change` is kept: where its uniform number is below low + span * rank share, its rank
// being how many elements of its row are smaller (of equal ones those before it). UNIFORMS 1: the numbers are given. Mirrors methods/ranks.rs.
// A row has `row` elements, `step` apart. The buffers begin `shift` elements before the first one, whose number in the tensor is `start`.
struct Params { count: u32, shift: u32, across: u32, start: u32, row: u32, step: u32, seed: u32, stream: u32, low: f32, span: f32, model: u32, pad0: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> change: array<f32>;
#if UNIFORMS
@group(0) @binding(2) var<storage, read> uniforms: array<f32>;
@group(0) @binding(3) var<storage, read_write> mask: array<u32>;
#else
@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
#include "mix/shared/random"
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let e = (wg.y * p.across + wg.x) * 64u + local;
  if (e >= p.count) { return; }
  let own = (e / p.step) % p.row;
  let first = p.shift + e - own * p.step;
  let magnitude = abs(change[p.shift + e]);
  var rank = 0u;
  for (var k = 0u; k < p.row; k++) {
    let other = abs(change[first + k * p.step]);
    rank += select(0u, 1u, other < magnitude || (other == magnitude && k < own));
  }
  let share = f32(rank) / f32(max(p.row, 2u) - 1u);
#if UNIFORMS
  let number = uniforms[p.shift + e];
#else
  let number = random_four(p.seed, p.stream, vec4<u32>(p.start + e)).x;
#endif
  let kept = select(0u, 1u << p.model, number < p.low + share * p.span);
  // The first model clears what was there.
  mask[p.shift + e] = select(mask[p.shift + e], 0u, p.model == 0u) | kept;
}
