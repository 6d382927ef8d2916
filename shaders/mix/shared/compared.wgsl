// compared(x, i): what model i is compared with, by four bits of MINUS: 0 b, 1 o, 2 + j the input m_j.
fn compared(x: Fours, i: u32) -> vec4<f32> {
  switch ((MINUS >> (4u * i)) & 15u) {
    case 0u: { return x.b; }
    case 1u: { return x.o; }
#for i MODELS
    case 2u + $iu: { return x.m$i; }
#end
    default: { return x.b; }
  }
}
