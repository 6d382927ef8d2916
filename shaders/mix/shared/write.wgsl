// The end of an element-wise pass: the including shader defines `fn four(x: Fours, e: vec4<u32>) -> vec4<f32>`, the results of the elements
// numbered e. Rounding to the result's type happens here, in one place for preview and export.
#include "mix/shared/quantize"
@group(0) @binding(2u + ORIGIN + MODELS + EXTRA) var<storage, read_write> dst: array<vec4<u32>>;

fn pairs(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(a.x | (a.y << 16u), a.z | (a.w << 16u), b.x | (b.y << 16u), b.z | (b.w << 16u));
}

fn store(g: u32, v: Eight) {
  if (OUT == 1u) {
    dst[g] = pairs(f16_bits(v.a), f16_bits(v.b));
  } else if (OUT == 2u) {
    dst[g] = pairs(bf16_round(v.a) >> vec4<u32>(16u), bf16_round(v.b) >> vec4<u32>(16u));
  } else if (OUT == 3u) {
    dst[2u * g] = bf16_round(v.a) & vec4<u32>(0xffff0000u);
    dst[2u * g + 1u] = bf16_round(v.b) & vec4<u32>(0xffff0000u);
  } else {
    dst[2u * g] = bitcast<vec4<u32>>(v.a);
    dst[2u * g + 1u] = bitcast<vec4<u32>>(v.b);
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
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
