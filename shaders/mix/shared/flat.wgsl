// Element-wise passes over whole tensors in the checkpoint's layout, eight elements at a time. Mirrors gpu/mix/src/flat.rs.
//
// Defines: WG lanes a workgroup, GROUPS groups of eight a lane; MODELS inputs beside the base `b`; ORIGIN 1 when task vectors start from
// another tensor `o` than the base; KINDS two bits an input in the order b, o, m0.. (0 f32, 1 f16 pairs, 2 bf16 pairs); OUT of the result
// (the same, and 3: f32 rounded to bf16); EXTRA read-only buffers that the including shader declares after the inputs.
// WIDE 1: loads and stores of 64 bits, where the device has them and a software adapter pays by the load. EXACT_UNPACK 1: unpack2x16float is
// known to keep subnormals. Every buffer is padded to whole groups. Lanes past the end repeat the last group and write the same bits again: no branches.
struct Head { groups: u32, start: u32, row_groups: u32, count: u32 }
// knobs: of the stage. model[i]: weight of model i, then three words of its method's choice.
struct Params { head: Head, knobs: vec4<f32>, model: array<vec4<f32>, 8> }

struct Eight { a: vec4<f32>, b: vec4<f32> }
struct Fours {
  b: vec4<f32>,
  o: vec4<f32>,
#for i MODELS
  m$i: vec4<f32>,
#end
}

@group(0) @binding(0) var<uniform> p: Params;
#if WIDE
alias Block = vec2<u64>;
fn words(block: Block) -> vec4<u32> {
  let low = vec2<u32>(block);
  let high = vec2<u32>(block >> vec2<u32>(32u));
  return vec4<u32>(low.x, high.x, low.y, high.y);
}
#else
alias Block = vec4<u32>;
fn words(block: Block) -> vec4<u32> { return block; }
#endif

@group(0) @binding(1) var<storage, read> xb: array<Block>;
#if ORIGIN
@group(0) @binding(2) var<storage, read> xo: array<Block>;
#endif
#for i MODELS
@group(0) @binding(2u + ORIGIN + $iu) var<storage, read> xm$i: array<Block>;
#end

// An f16 as f32, exactly: built-in unpacking may flush subnormals. The exponent is moved by a multiplication, subnormals go through integers.
fn f16_four(h: vec4<u32>) -> vec4<f32> {
  let magnitude = h & vec4<u32>(0x7fffu);
  let normal = bitcast<vec4<f32>>((magnitude << vec4<u32>(13u)) + vec4<u32>(0x38000000u));
  // Infinities and NaN keep theirs.
  let special = bitcast<vec4<f32>>((magnitude << vec4<u32>(13u)) | vec4<u32>(0x7f800000u));
  let tiny = vec4<f32>(magnitude) * 5.9604644775390625e-8;
  let value = select(select(normal, special, magnitude >= vec4<u32>(0x7c00u)), tiny, magnitude < vec4<u32>(0x400u));
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(value) | ((h & vec4<u32>(0x8000u)) << vec4<u32>(16u)));
}

fn f16_eight(w: vec4<u32>) -> Eight {
#if EXACT_UNPACK
  return Eight(vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)), vec4<f32>(unpack2x16float(w.z), unpack2x16float(w.w)));
#else
  let low = f16_four(w & vec4<u32>(0xffffu));
  let high = f16_four(w >> vec4<u32>(16u));
  return Eight(vec4<f32>(low.x, high.x, low.y, high.y), vec4<f32>(low.z, high.z, low.w, high.w));
#endif
}

fn bf16_eight(w: vec4<u32>) -> Eight {
  let low = bitcast<vec4<f32>>(w << vec4<u32>(16u));
  let high = bitcast<vec4<f32>>(w & vec4<u32>(0xffff0000u));
  return Eight(vec4<f32>(low.x, high.x, low.y, high.y), vec4<f32>(low.z, high.z, low.w, high.w));
}

const KIND_B: u32 = KINDS & 3u;
const KIND_O: u32 = (KINDS >> 2u) & 3u;
fn load_b(g: u32) -> Eight {
  if (KIND_B == 1u) { return f16_eight(words(xb[g])); }
  if (KIND_B == 2u) { return bf16_eight(words(xb[g])); }
  return Eight(bitcast<vec4<f32>>(words(xb[2u * g])), bitcast<vec4<f32>>(words(xb[2u * g + 1u])));
}
#if ORIGIN
fn load_o(g: u32) -> Eight {
  if (KIND_O == 1u) { return f16_eight(words(xo[g])); }
  if (KIND_O == 2u) { return bf16_eight(words(xo[g])); }
  return Eight(bitcast<vec4<f32>>(words(xo[2u * g])), bitcast<vec4<f32>>(words(xo[2u * g + 1u])));
}
#endif
#for i MODELS
const KIND_M$i: u32 = (KINDS >> (4u + 2u * $iu)) & 3u;
fn load_m$i(g: u32) -> Eight {
  if (KIND_M$i == 1u) { return f16_eight(words(xm$i[g])); }
  if (KIND_M$i == 2u) { return bf16_eight(words(xm$i[g])); }
  return Eight(bitcast<vec4<f32>>(words(xm$i[2u * g])), bitcast<vec4<f32>>(words(xm$i[2u * g + 1u])));
}
#end

// Element numbers of the first four of group `g` inside the whole tensor.
fn numbers(g: u32) -> vec4<u32> {
  return vec4<u32>(p.head.start + g * 8u) + vec4<u32>(0u, 1u, 2u, 3u);
}
