// The end of an element-wise pass: the including shader defines `fn four(x: Fours, e: vec4<u32>) -> vec4<f32>`, the results of the elements
// numbered e. BEGIN 1: it also defines `fn begin(lane: u32)`, called first. CUTS 1: and what shared/keep.wgsl has for it.
#include "mix/shared/store"

// The results of group g. `exact`: cuts are set for every four elements.
fn put(g: u32, exact: bool) {
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
#if CUTS
  if (exact) { cut_at(e); }
#endif
  let ya = four(Fours(b.a, o.a,
#for i MODELS
    m$i.a,
#end
  ), e);
#if CUTS
  if (exact) { cut_at(e + vec4<u32>(4u)); }
#endif
  let yb = four(Fours(b.b, o.b,
#for i MODELS
    m$i.b,
#end
  ), e + vec4<u32>(4u));
  store(g, Eight(ya, yb));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
#if BEGIN
  begin(lane);
#endif
  let first = (wg.y * p.head.row_groups + wg.x) * GROUPS * WG + lane;
  let end = p.head.groups - 1u;
#if CUTS
  let within = cut_between(numbers(min(first, end)).x, numbers(min(first + (GROUPS - 1u) * WG, end)).x + 7u);
#endif
#for s GROUPS
  put(min(first + $su * WG, end), false);
#end
#if CUTS
  // One stretch of the whole tensor: a loop over nothing costs the others nothing.
  let again = select(0u, GROUPS, within);
  for (var s = 0u; s < again; s++) { put(min(first + s * WG, end), true); }
#endif
}
