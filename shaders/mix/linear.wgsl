// y = knobs.x * b + sum of weight_i * m_i. With COEFFICIENTS the factors come from a buffer: [b, m0, m1, ..].
#include "mix/shared/flat"
#if COEFFICIENTS
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> coefficients: array<f32>;
#endif

fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
#if COEFFICIENTS
  var y = coefficients[0] * x.b;
#for i MODELS
  y += coefficients[1u + $iu] * x.m$i;
#end
#else
  var y = p.knobs.x * x.b;
#for i MODELS
  y += p.model[$i].x * x.m$i;
#end
#endif
  return y;
}
#include "mix/shared/write"
