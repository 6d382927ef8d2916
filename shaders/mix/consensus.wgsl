// y = b + lambda * merge of the models' kept, weighted changes: the last pass of the task-vector methods. Mirrors methods/consensus.rs.
//
// MASK 0 keeps everything; 1 what selection i of `state` takes; 2 what selection 2i takes and 2i + 1 does not; 3 where a random number is
// below the keep probability (model[i].y). MASKED 1: bit i of `masks` says it for model i. VOTE 0: sum over sum of weights; 1: elements whose sign agrees with that of the weighted sum,
// over the agreeing weights; 2 and 3: with that of the sum, or of most signs, before weights, over how many agree. NORMALIZE 0 leaves the
// division out. RESCALE: `scale[i]` multiplies changes of model i.
// knobs: lambda, sum of weights (or 1 where it is nearly 0), the sign where a vote ends at zero; PLUS 1: that is plus.
#include "mix/shared/flat"
#if STATE
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> state: array<u32>;
#endif
#if RESCALE
@group(0) @binding(2u + ORIGIN + MODELS + STATE) var<storage, read> scale: array<f32>;
#endif
#if MASKED
@group(0) @binding(2u + ORIGIN + MODELS + STATE + RESCALE) var<storage, read> masks: array<u32>;
#endif
#if UNIFORMS
#for i MODELS
@group(0) @binding(2u + ORIGIN + MODELS + STATE + RESCALE + $iu) var<storage, read> uniforms$i: array<f32>;
#end
#endif
#include "mix/shared/keep"

fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let zero = vec4<f32>(0.0);
  var sum = zero;
#for i MODELS
  var d$i = select(zero, x.m$i - x.o, kept$i(x, e));
#if RESCALE
  d$i *= scale[$i];
#endif
  if (VOTE < 2u) { d$i *= p.model[$i].x; }
  if (VOTE == 3u) { sum += sign(d$i); } else { sum += d$i; }
#end
#if VOTE
#if PLUS
  let down = sum < zero;
#else
  let down = select(sum, vec4<f32>(p.knobs.z), sum == zero) < zero;
#endif
  // Where minus won all signs are turned, so that what agrees is what is positive: sums and quotients keep their digits.
  let turn = select(vec4<u32>(0u), vec4<u32>(0x80000000u), down);
  var top = zero;
  var bottom = zero;
#for i MODELS
  {
    let d = bitcast<vec4<f32>>(bitcast<vec4<u32>>(d$i) ^ turn);
    let agrees = d > zero;
    if (VOTE >= 2u) {
      top += select(zero, d * p.model[$i].x, agrees);
      bottom += select(zero, vec4<f32>(1.0), agrees);
    } else {
      top += select(zero, d, agrees);
      bottom += select(zero, vec4<f32>(p.model[$i].x), agrees);
    }
  }
#end
#if NORMALIZE
  top /= select(bottom, vec4<f32>(1.0), bottom == zero);
#endif
  return x.b + bitcast<vec4<f32>>(bitcast<vec4<u32>>(top) ^ turn) * p.knobs.x;
#else
#if NORMALIZE
  sum /= p.knobs.y;
#endif
  return x.b + sum * p.knobs.x;
#endif
}
#include "mix/shared/write"
