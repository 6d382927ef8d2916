// mergekit's sce. SUMS 1 gathers sum of the squares of every model's selected changes; SUMS 0 writes b + sum d w / sum w over the changes whose
// sign is that of their sum, w being a model's share of the squares. SELECTED 1: only elements that selection 0 of `state` takes count.
// knobs: number of elements.
#include "mix/shared/flat"
#if SELECTED
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> state: array<u32>;
#endif
#include "mix/shared/keep"
#include "mix/shared/selection"
struct Changes {
#for i MODELS
  d$i: vec4<f32>,
#end
}
fn changes(x: Fours, e: vec4<u32>) -> Changes {
#if SELECTED
  let taken = among(0u, selected(x, 0u), e);
#else
  let taken = vec4<bool>(true);
#endif
  return Changes(
#for i MODELS
    select(vec4<f32>(0.0), x.m$i - x.o, taken),
#end
  );
}
#if SUMS
@group(0) @binding(2u + ORIGIN + MODELS + EXTRA) var<storage, read_write> sums: array<f32>;
#for i MODELS
var<private> square$i: vec4<f32>;
#end
fn take(x: Fours, e: vec4<u32>) {
  let live = e < vec4<u32>(p.head.start + p.head.count);
  let c = changes(x, e);
#for i MODELS
  square$i += select(vec4<f32>(0.0), c.d$i * c.d$i, live);
#end
}
fn idle() -> bool { return false; }
fn finish(lane: u32) {
#for i MODELS
  {
    var sum = (square$i.x + square$i.y) + (square$i.z + square$i.w);
    if (p.head.row_groups == 1u) { sum += sums[$iu * LANES + lane]; }
    sums[$iu * LANES + lane] = sum;
  }
#end
}
#include "mix/shared/gather"
#else
@group(0) @binding(2u + ORIGIN + MODELS + SELECTED) var<storage, read> squares: array<f32>;
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let c = changes(x, e);
  var sum = vec4<f32>(0.0);
  var all = 0.0;
#for i MODELS
  sum += c.d$i;
  all += squares[$i] / p.knobs.x;
#end
  let up = sum >= vec4<f32>(0.0);
  var top = vec4<f32>(0.0);
  var bottom = vec4<f32>(0.0);
#for i MODELS
  {
    let agrees = select((c.d$i < vec4<f32>(0.0)), (c.d$i > vec4<f32>(0.0)), up);
    let w = select(squares[$i] / p.knobs.x / all, 1.0 / f32(MODELS), all < 1e-6);
    top += select(vec4<f32>(0.0), c.d$i * w, agrees);
    bottom += select(vec4<f32>(0.0), vec4<f32>(w), agrees);
  }
#end
  return x.b + top / max(bottom, vec4<f32>(1e-6));
}
#include "mix/shared/write"
#endif
