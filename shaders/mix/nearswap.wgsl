// mergekit's nearswap: w m + (1 - w) b with w = t / |b - m| in [0, 1]. knobs: t.
#include "mix/shared/flat"
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let w = clamp(p.knobs.x / max(abs(x.b - x.m0), vec4<f32>(1e-6)), vec4<f32>(0.0), vec4<f32>(1.0));
  return w * x.m0 + (1.0 - w) * x.b;
}
#include "mix/shared/write"
