// The model's elements first..last, the base's elsewhere; knobs hold first, last and whether it is the other way round, as integers.
#include "mix/shared/flat"
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let k = bitcast<vec4<u32>>(p.knobs);
  let inside = (e >= vec4<u32>(k.x)) & (e < vec4<u32>(k.y));
  return select(x.b, x.m0, inside != vec4<bool>(k.z == 1u));
}
#include "mix/shared/write"
