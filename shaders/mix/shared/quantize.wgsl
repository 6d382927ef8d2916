// f32 -> 16-bit floats, round to nearest, ties to even, in integers: pack2x16float's rounding is not specified. Mirrors quantize.rs.

// Bits of the f16 nearest to each value; overflow gives infinity, NaN stays NaN.
fn f16_bits(v: vec4<f32>) -> vec4<u32> {
  let bits = bitcast<vec4<u32>>(v);
  let sign = (bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u);
  let magnitude = bits & vec4<u32>(0x7fffffffu);
  // Normal f16: drop 13 bits of the mantissa, rounding, and move the exponent; a carry goes into the exponent by itself.
  let odd = (magnitude >> vec4<u32>(13u)) & vec4<u32>(1u);
  let normal = (magnitude + vec4<u32>(0xfffu) + odd - vec4<u32>(0x38000000u)) >> vec4<u32>(13u);
  // Subnormal f16: the value in units of 2^-24, rounded by adding 2^23 and reading the mantissa (f32 addition rounds to nearest even).
  let scaled = bitcast<vec4<f32>>(magnitude) * 16777216.0 + vec4<f32>(8388608.0);
  let small = bitcast<vec4<u32>>(scaled) & vec4<u32>(0x7fffffu);
  var out = select(normal, small, magnitude < vec4<u32>(0x38800000u));
  // 65520 and above round to infinity.
  out = select(out, vec4<u32>(0x7c00u), magnitude >= vec4<u32>(0x477ff000u));
  out = select(out, vec4<u32>(0x7e00u), magnitude > vec4<u32>(0x7f800000u));
  return out | sign;
}

// f32 bits rounded to their upper half; the lower half of the result is not cleared.
fn bf16_round(v: vec4<f32>) -> vec4<u32> {
  let bits = bitcast<vec4<u32>>(v);
  let odd = (bits >> vec4<u32>(16u)) & vec4<u32>(1u);
  let rounded = bits + vec4<u32>(0x7fffu) + odd;
  // NaN must not be carried into infinity or zero.
  return select(rounded, bits | vec4<u32>(0x400000u), (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
