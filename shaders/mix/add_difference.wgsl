// y = b + sum of weight_i * (m_i - c_i) over DIFFERENCES models. c_i is given by four bits of MINUS: 0 b, 1 o, 2 + j the input m_j.
#include "mix/shared/flat"

fn input(x: Fours, which: u32) -> vec4<f32> {
  switch (which) {
    case 0u: { return x.b; }
    case 1u: { return x.o; }
#for i MODELS
    case 2u + $iu: { return x.m$i; }
#end
    default: { return x.b; }
  }
}

fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  var y = vec4<f32>(0.0);
#for i DIFFERENCES
  y += p.model[$i].x * (x.m$i - input(x, (MINUS >> (4u * $iu)) & 15u));
#end
  return x.b + y;
}
#include "mix/shared/write"
