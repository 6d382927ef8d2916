// y = b + sum of weight_i * (m_i - c_i) over DIFFERENCES models, c_i as MINUS says.
#include "mix/shared/flat"
#include "mix/shared/compared"

fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  var y = vec4<f32>(0.0);
#for i DIFFERENCES
  y += p.model[$i].x * (x.m$i - compared(x, $iu));
#end
  return x.b + y;
}
#include "mix/shared/write"
