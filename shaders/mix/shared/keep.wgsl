// kept0(x, e), kept1(x, e), ..: which of the four elements numbered e each model keeps (defines as in consensus.wgsl).
#if SELECTED
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
  return among(2u * $iu, v, e) & !among(2u * $iu + 1u, v, e);
#else
#if SELECTED
  return among($iu, x.m$i - x.o, e);
#else
  return vec4<bool>(true);
#endif
#endif
#endif
#endif
}
#end
