// Element-wise passes over whole tensors in the checkpoint's layout, eight elements at a time.
//
// Defines: WG lanes a workgroup, GROUPS groups of eight a lane, KINDS two bits an input (0 f32, 1 f16 pairs, 2 bf16 pairs),
// OUT (0 f32, 1 f16 pairs, 2 bf16 pairs, 3 f32 rounded to bf16). Every buffer is padded to whole groups. Straight-line code without
// branches or bounds checks: lanes past the end repeat the last group, which writes the same bits again. On software adapters a workgroup
// has one lane and every address is uniform, which makes a load one instruction instead of a loop over lanes.
struct Head { groups: u32, start: u32, row_groups: u32, seed: u32 }

struct Eight { a: vec4<f32>, b: vec4<f32> }

// Group index of step `i` of this lane.
fn group_at(wg: vec3<u32>, lane: u32, i: u32) -> u32 {
  return min(((wg.y * p.head.row_groups + wg.x) * GROUPS + i) * WG + lane, p.head.groups - 1u);
}

// Two f16 of a word, exactly, subnormals too (built-in unpacking may flush them).
fn f16_pair(w: u32) -> vec2<f32> {
  return unpack2x16float(w);
}

fn f16_eight(w: vec4<u32>) -> Eight {
  return Eight(vec4<f32>(f16_pair(w.x), f16_pair(w.y)), vec4<f32>(f16_pair(w.z), f16_pair(w.w)));
}

fn bf16_eight(w: vec4<u32>) -> Eight {
  let low = bitcast<vec4<f32>>(w << vec4<u32>(16u));
  let high = bitcast<vec4<f32>>(w & vec4<u32>(0xffff0000u));
  return Eight(vec4<f32>(low.x, high.x, low.y, high.y), vec4<f32>(low.z, high.z, low.w, high.w));
}
