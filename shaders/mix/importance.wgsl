// y = |m - b| times the divergence of the element's row; knobs: row length as integer.
#include "mix/shared/flat"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> kl: array<f32>;
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let row = min(e, vec4<u32>(p.head.start + p.head.count - 1u)) / vec4<u32>(bitcast<u32>(p.knobs.x));
  return abs(x.m0 - x.b) * vec4<f32>(kl[row.x], kl[row.y], kl[row.z], kl[row.w]);
}
#include "mix/shared/write"
