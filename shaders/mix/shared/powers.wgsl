// Logarithm and power to the last bits of f32: the built-in ones may be wrong in the fourth digit.

// log2 of a positive normal number: exponent and, by the series of atanh, mantissa in [sqrt(1/2), sqrt(2)). Its remainder is below 1e-9.
fn exact_log2(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  var exponent = f32(i32(bits >> 23u) - 127);
  var m = bitcast<f32>((bits & 0x7fffffu) | 0x3f800000u);
  if (m > 1.41421356) { m *= 0.5; exponent += 1.0; }
  let s = (m - 1.0) / (m + 1.0);
  let z = s * s;
  let tail = z * (0.3333333333 + z * (0.2 + z * (0.1428571429 + z * (0.1111111111 + z * 0.0909090909))));
  return exponent + 2.8853900817779268 * (s + s * tail);
}

// 2^y: whole part by the exponent, the rest by the Taylor series of exp up to y^8; its remainder is below 1e-9.
fn exact_exp2(y: f32) -> f32 {
  let c = clamp(y, -148.0, 127.9);
  let whole = round(c);
  let t = (c - whole) * 0.6931471805599453;
  let r = 1.0 + t * (1.0 + t * (0.5 + t * (0.16666666667 + t * (0.04166666667 + t * (8.333333333e-3 + t * (1.388888889e-3 + t * (1.984126984e-4 + t * 2.480158730e-5)))))));
  // In two steps: 2^-148 is no normal number.
  let first = i32(whole) / 2;
  let rest = i32(whole) - first;
  return r * bitcast<f32>(u32(first + 127) << 23u) * bitcast<f32>(u32(rest + 127) << 23u);
}
