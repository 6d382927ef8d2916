// mergekit's ram: b + sum of changes above epsilon, divided by how many models change the element. knobs: epsilon.
#include "mix/shared/flat"
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  var count = vec4<f32>(0.0);
#for i MODELS
  {
    let d = x.m$i - x.o;
    let changed = abs(d) > vec4<f32>(p.knobs.x);
    sum += select(vec4<f32>(0.0), d, changed);
    count += select(vec4<f32>(0.0), vec4<f32>(1.0), changed);
  }
#end
  return x.b + sum / max(count, vec4<f32>(1.0));
}
#include "mix/shared/write"
