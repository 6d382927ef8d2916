// y = m where its importance m1 reaches median + 1.5 (third quartile - first), b elsewhere. state: the selections of the three quartiles.
#include "mix/shared/flat"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> state: array<u32>;
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let q = vec3<f32>(bitcast<f32>(state[1]), bitcast<f32>(state[9]), bitcast<f32>(state[17]));
  let threshold = q.y + 1.5 * (q.z - q.x);
  return select(x.b, x.m0, x.m1 >= vec4<f32>(threshold));
}
#include "mix/shared/write"
