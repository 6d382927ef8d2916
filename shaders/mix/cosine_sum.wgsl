// y = m (1 - k) + b k, k of the element's column; knobs: number of columns as integer.
#include "mix/shared/flat"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> shares: array<f32>;
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let c = e % vec4<u32>(bitcast<u32>(p.knobs.x));
  let k = vec4<f32>(shares[c.x], shares[c.y], shares[c.z], shares[c.w]);
  return x.m0 * (1.0 - k) + x.b * k;
}
#include "mix/shared/write"
