// y = b + factor0 (b - m1) + factor1 (m0 - m1): the end of add_perpendicular, m1 being what both are compared with.
#include "mix/shared/flat"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> factors: array<f32>;
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  return x.b + (factors[0] * (x.b - x.m1) + factors[1] * (x.m0 - x.m1));
}
#include "mix/shared/write"
