// f32 -> 16-bit floats, round to nearest, ties to even, in integers: pack2x16float's rounding is not specified. Mirrors quantize.rs.

// Bits of the f16 nearest to each value; overflow gives infinity, NaN stays NaN.
fn f16_bits(v: vec4<f32>) -> vec4<u32> {
  let bits = bitcast<vec4<u32>>(v);
  let magnitude = bits & vec4<u32>(0x7fffffffu);
  // The exponent, that of the smallest normal f16 at least and that of what is too large at most. Adding 2^(exponent + 13) leaves ten bits of the mantissa, rounded by the addition
  // itself (f32 rounds to nearest, ties to even), and for subnormal f16 what is left of them.
  let exponent = clamp(magnitude & vec4<u32>(0x7f800000u), vec4<u32>(0x38800000u), vec4<u32>(0x47800000u));
  let big = exponent + vec4<u32>(0x06800000u);
  let mantissa = bitcast<vec4<u32>>(bitcast<vec4<f32>>(magnitude) + bitcast<vec4<f32>>(big)) - big;
  // A leading one in the mantissa counts one exponent, so does a carry. 65520 and above: infinity.
  let rounded = min(mantissa + ((exponent - vec4<u32>(0x38800000u)) >> vec4<u32>(13u)), vec4<u32>(0x7c00u));
  let out = select(rounded, vec4<u32>(0x7e00u), magnitude > vec4<u32>(0x7f800000u));
  return out | ((bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u));
}

// f32 bits rounded to their upper half; the lower half of the result is not cleared.
fn bf16_round(v: vec4<f32>) -> vec4<u32> {
  let bits = bitcast<vec4<u32>>(v);
  let odd = (bits >> vec4<u32>(16u)) & vec4<u32>(1u);
  let rounded = bits + vec4<u32>(0x7fffu) + odd;
  // NaN must not be carried into infinity or zero.
  return select(rounded, bits | vec4<u32>(0x400000u), (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
