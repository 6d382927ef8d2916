// SuperMerger's trainDifference: b + sum of w_i 1.8 |m - c| |m - b| / (|m - c| + |m - b|) with the sign of m - c.
// c_i as MINUS says.
#include "mix/shared/flat"
#include "mix/shared/compared"

fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  var y = vec4<f32>(0.0);
#for i DIFFERENCES
  {
    let d = x.m$i - compared(x, $iu);
    let far = abs(x.m$i - x.b);
    let sum = abs(d) + far;
    let share = select(far / sum, vec4<f32>(0.0), sum == vec4<f32>(0.0));
    y += p.model[$i].x * 1.8 * share * d;
  }
#end
  return x.b + y;
}
#include "mix/shared/write"
