// sd-mecha's geometric_sum: the real part of b^(1 - t) m^t, t the weight.
#include "mix/shared/flat"
#include "mix/shared/angles"
#include "mix/shared/powers"
fn one(b: f32, m: f32, t: f32) -> f32 {
  // 0^0 is 1 and 0^t is 0, as in complex arithmetic.
  let none = (b == 0.0 && t != 1.0) || (m == 0.0 && t != 0.0);
  let lb = select(exact_log2(max(abs(b), 1.2e-38)), 0.0, t == 1.0);
  let lm = select(exact_log2(max(abs(m), 1.2e-38)), 0.0, t == 0.0);
  let size = exact_exp2((1.0 - t) * lb + t * lm);
  let turn = 3.14159265358979 * (select(0.0, 1.0 - t, b < 0.0) + select(0.0, t, m < 0.0));
  return select(size * cosine(turn), 0.0, none);
}
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let t = p.model[0].x;
  return vec4<f32>(one(x.b.x, x.m0.x, t), one(x.b.y, x.m0.y, t), one(x.b.z, x.m0.z, t), one(x.b.w, x.m0.w, t));
}
#include "mix/shared/write"
