// The result of a pass: rounding to its type happens here and nowhere else, so that the preview's weights and the exported ones agree.
#include "mix/shared/quantize"
@group(0) @binding(2u + ORIGIN + MODELS + EXTRA) var<storage, read_write> dst: array<Block>;

fn block(w: vec4<u32>) -> Block {
#if WIDE
  return vec2<u64>(w.xz) | (vec2<u64>(w.yw) << vec2<u32>(32u));
#else
  return w;
#endif
}

fn pairs(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(a.x | (a.y << 16u), a.z | (a.w << 16u), b.x | (b.y << 16u), b.z | (b.w << 16u));
}

fn store(g: u32, v: Eight) {
  if (OUT == 1u) {
    dst[g] = block(pairs(f16_bits(v.a), f16_bits(v.b)));
  } else if (OUT == 2u) {
    dst[g] = block(pairs(bf16_round(v.a) >> vec4<u32>(16u), bf16_round(v.b) >> vec4<u32>(16u)));
  } else if (OUT == 3u) {
    dst[2u * g] = block(bf16_round(v.a) & vec4<u32>(0xffff0000u));
    dst[2u * g + 1u] = block(bf16_round(v.b) & vec4<u32>(0xffff0000u));
  } else {
    dst[2u * g] = block(bitcast<vec4<u32>>(v.a));
    dst[2u * g + 1u] = block(bitcast<vec4<u32>>(v.b));
  }
}
