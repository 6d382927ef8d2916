// For every model the sum of |change| and of |kept change|: sums[(2 i) * LANES + lane] and sums[(2 i + 1) * LANES + lane].
#include "mix/shared/flat"
#if STATE
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> state: array<u32>;
#endif
#if MASKED
@group(0) @binding(2u + ORIGIN + MODELS + STATE) var<storage, read> masks: array<u32>;
#endif
#if UNIFORMS
#for i MODELS
@group(0) @binding(2u + ORIGIN + MODELS + STATE + $iu) var<storage, read> uniforms$i: array<f32>;
#end
#endif
@group(0) @binding(2u + ORIGIN + MODELS + EXTRA) var<storage, read_write> sums: array<f32>;
#include "mix/shared/keep"
#for i MODELS
var<private> before$i: vec4<f32>;
var<private> after$i: vec4<f32>;
#end

fn take(x: Fours, e: vec4<u32>) {
  let last = vec4<u32>(p.head.start + p.head.count - 1u);
  let live = e <= last;
#if CUTS
  cut_at(min(e, last));
#endif
#for i MODELS
  {
    let d = select(vec4<f32>(0.0), abs(x.m$i - x.o), live);
    before$i += d;
    after$i += select(vec4<f32>(0.0), d, kept$i(x, min(e, last)));
  }
#end
}

fn idle() -> bool { return false; }

fn finish(lane: u32) {
#for i MODELS
  {
    var before = (before$i.x + before$i.y) + (before$i.z + before$i.w);
    var after = (after$i.x + after$i.y) + (after$i.z + after$i.w);
    if (p.head.row_groups == 1u) {
      before += sums[2u * $iu * LANES + lane];
      after += sums[(2u * $iu + 1u) * LANES + lane];
    }
    sums[2u * $iu * LANES + lane] = before;
    sums[(2u * $iu + 1u) * LANES + lane] = after;
  }
#end
}
#include "mix/shared/gather"
