// The end of an element-wise pass: the including shader defines `fn four(x: Fours, e: vec4<u32>) -> vec4<f32>`, the results of the elements
// numbered e. BEGIN 1: it also defines `fn begin(lane: u32)`, called first.
#include "mix/shared/store"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
#if BEGIN
  begin(lane);
#endif
  let first = (wg.y * p.head.row_groups + wg.x) * GROUPS * WG + lane;
#for s GROUPS
  {
    let g = min(first + $su * WG, p.head.groups - 1u);
    let b = load_b(g);
#if ORIGIN
    let o = load_o(g);
#else
    let o = b;
#endif
#for i MODELS
    let m$i = load_m$i(g);
#end
    let e = numbers(g);
    let ya = four(Fours(b.a, o.a,
#for i MODELS
      m$i.a,
#end
    ), e);
    let yb = four(Fours(b.b, o.b,
#for i MODELS
      m$i.b,
#end
    ), e + vec4<u32>(4u));
    store(g, Eight(ya, yb));
  }
#end
}
