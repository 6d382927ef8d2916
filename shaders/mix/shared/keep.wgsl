// kept0(x, e), kept1(x, e), ..: which of the four elements numbered e each model keeps (defines as in consensus.wgsl). Where SELECTED, begin()
// comes first, once a lane: software adapters pay for every load, uniform or not.
//
// CUTS 1: all selections take the largest. An element is kept where its magnitude's bits are above its model's cut: the threshold, or one
// below it up to the last element taken of those that equal the threshold. cut_at() sets the cuts for four elements, cut_between() for all of a
// stretch and says whether it could not: where some last element lies within.
#if SELECTED
#if CUTS
#for i MODELS
var<private> cut$i: vec4<i32>;
var<private> least$i: i32;
var<private> last$i: u32;
#if WINDOW
var<private> inner_cut$i: vec4<i32>;
var<private> inner_least$i: i32;
var<private> inner_last$i: u32;
#endif
#end
// No finite number has as many bits as what nothing reaches.
fn least_of(s: u32) -> i32 { return i32(min(state[s * 8u + 1u], 0x7fffffffu)); }
fn begin(lane: u32) {
#for i MODELS
#if WINDOW
  least$i = least_of(2u * $iu);
  last$i = state[2u * $iu * 8u + 5u];
  inner_least$i = least_of(2u * $iu + 1u);
  inner_last$i = state[(2u * $iu + 1u) * 8u + 5u];
#else
  least$i = least_of($iu);
  last$i = state[$iu * 8u + 5u];
#endif
#end
}
fn cut_at(e: vec4<u32>) {
  let zero = vec4<i32>(0);
  let one = vec4<i32>(1);
#for i MODELS
  cut$i = vec4<i32>(least$i) - select(zero, one, e <= vec4<u32>(last$i));
#if WINDOW
  inner_cut$i = vec4<i32>(inner_least$i) - select(zero, one, e <= vec4<u32>(inner_last$i));
#endif
#end
}
fn cut_between(first: u32, final_one: u32) -> bool {
  cut_at(vec4<u32>(final_one));
  var within = false;
#for i MODELS
  within = within || (first <= last$i && last$i < final_one);
#if WINDOW
  within = within || (first <= inner_last$i && inner_last$i < final_one);
#endif
#end
  return within;
}
#else
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
  let beyond = select((bits < least), (bits > least), vec4<bool>(state[s * 8u + 6u] == 1u));
  return beyond | ((bits == least) & (e <= last));
}
#endif
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
#if CUTS
  let bits = bitcast<vec4<i32>>(abs(x.m$i - x.o));
#if WINDOW
  return (bits > cut$i) & (bits <= inner_cut$i);
#else
  return bits > cut$i;
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
#endif
}
#end
