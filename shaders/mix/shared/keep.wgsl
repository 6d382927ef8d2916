// kept0(x, e), kept1(x, e), ..: which of the four elements numbered e each model keeps (defines as in consensus.wgsl). Where SELECTED, begin()
// comes first, once a lane: software adapters pay for every load, uniform or not. DESCENDING 1: all selections take the largest.
#if SELECTED
#for i MODELS
var<private> least$i: vec4<u32>;
var<private> last$i: vec4<u32>;
#if WINDOW
var<private> inner_least$i: vec4<u32>;
var<private> inner_last$i: vec4<u32>;
#endif
#end
fn begin(lane: u32) {
#for i MODELS
#if WINDOW
  least$i = vec4<u32>(state[2u * $iu * 8u + 1u]);
  last$i = vec4<u32>(state[2u * $iu * 8u + 5u]);
  inner_least$i = vec4<u32>(state[(2u * $iu + 1u) * 8u + 1u]);
  inner_last$i = vec4<u32>(state[(2u * $iu + 1u) * 8u + 5u]);
#else
  least$i = vec4<u32>(state[$iu * 8u + 1u]);
  last$i = vec4<u32>(state[$iu * 8u + 5u]);
#endif
#end
}
// True where element e with value v is among the first of selection s, whose threshold and last equal element are given.
fn passes(s: u32, v: vec4<f32>, e: vec4<u32>, least: vec4<u32>, last: vec4<u32>) -> vec4<bool> {
  let bits = bitcast<vec4<u32>>(abs(v));
#if DESCENDING
  let beyond = bits > least;
#else
  let beyond = select((bits < least), (bits > least), vec4<bool>(state[s * 8u + 6u] == 1u));
#endif
  return beyond | ((bits == least) & (e <= last));
}
// True where element e with value v is among the first of selection s.
fn among(s: u32, v: vec4<f32>, e: vec4<u32>) -> vec4<bool> {
  let bits = bitcast<vec4<u32>>(abs(v));
  let threshold = vec4<u32>(state[s * 8u + 1u]);
  let beyond = select((bits < threshold), (bits > threshold), vec4<bool>(state[s * 8u + 6u] == 1u));
  return beyond | ((bits == threshold) & (e <= vec4<u32>(state[s * 8u + 5u])));
}
#endif
#if RANDOM
#if UNIFORMS
#else
#include "mix/shared/random"
#endif
#endif
#for i MODELS
fn kept$i(x: Fours, e: vec4<u32>) -> vec4<bool> {
#if MASKED
  let at = e - vec4<u32>(p.head.start);
  let bits = vec4<u32>(masks[at.x], masks[at.y], masks[at.z], masks[at.w]);
  return (bits & vec4<u32>(1u << $iu)) != vec4<u32>(0u);
#else
#if RANDOM
#if UNIFORMS
  // Bound window by window.
  let at = e - vec4<u32>(p.head.start);
  return vec4<f32>(uniforms$i[at.x], uniforms$i[at.y], uniforms$i[at.z], uniforms$i[at.w]) < vec4<f32>(p.model[$i].y);
#else
  return random_four(bitcast<u32>(p.model[$i].z), bitcast<u32>(p.model[$i].w), e) < vec4<f32>(p.model[$i].y);
#endif
#else
#if WINDOW
  let v = x.m$i - x.o;
  let outer = passes(2u * $iu, v, e, least$i, last$i);
  return outer & !passes(2u * $iu + 1u, v, e, inner_least$i, inner_last$i);
#else
#if SELECTED
  return passes($iu, x.m$i - x.o, e, least$i, last$i);
#else
  return vec4<bool>(true);
#endif
#endif
#endif
#endif
}
#end
