// sd-mecha's clamp: b into [smallest, largest] of the models; stiffness (knobs.x) draws both ends to the values nearest their mean.
#include "mix/shared/flat"
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  var low = x.m0;
  var high = x.m0;
  var mean = vec4<f32>(0.0);
#for i MODELS
  low = min(low, x.m$i);
  high = max(high, x.m$i);
  mean += x.m$i;
#end
  mean /= f32(MODELS);
  var above = high;
  var below = low;
#for i MODELS
  above = select(above, x.m$i, (above >= x.m$i) & (x.m$i >= mean));
  below = select(below, x.m$i, (below <= x.m$i) & (x.m$i <= mean));
#end
  let s = p.knobs.x;
  if (s != 0.0) {
    high = (1.0 - s) * high + s * above;
    low = (1.0 - s) * low + s * below;
  }
  return min(max(x.b, low), high);
}
#include "mix/shared/write"
