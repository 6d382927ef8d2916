// Sine and arc cosine to the last bits of f32: the built-in ones may be wrong in the fourth digit. Polynomials of Moshier's Cephes library.
fn sine(angle: f32) -> f32 {
  let turns = round(angle * 0.15915494309189535);
  // 2 pi in three parts, so that the reduction loses nothing.
  var x = ((angle - turns * 6.28125) - turns * 0.0019350051879882812) - turns * 3.0199159819567526e-7;
  let fold = 3.14159265358979;
  if (x > 0.5 * fold) { x = fold - x; }
  if (x < -0.5 * fold) { x = -fold - x; }
  let z = x * x;
  // Taylor series to x^13: its remainder at pi / 2 is below 1e-9.
  let tail = -1.984126984126984e-4 + z * (2.755731922398589e-6 + z * (-2.505210838544172e-8 + z * 1.605904383682161e-10));
  return x + x * z * (-0.16666666666666666 + z * (8.333333333333333e-3 + z * tail));
}

fn cosine(angle: f32) -> f32 {
  return sine(angle + 1.57079632679489);
}

// asin for |x| <= 0.5.
fn small_arc_sine(x: f32) -> f32 {
  let z = x * x;
  let p = 1.6666752422e-1 + z * (7.4953002686e-2 + z * (4.5470025998e-2 + z * (2.4181311049e-2 + z * 4.2163199048e-2)));
  return x + x * z * p;
}

fn arc_cosine(c: f32) -> f32 {
  let x = clamp(c, -1.0, 1.0);
  if (x > 0.5) { return 2.0 * small_arc_sine(sqrt(0.5 * (1.0 - x))); }
  if (x < -0.5) { return 3.14159265358979 - 2.0 * small_arc_sine(sqrt(0.5 * (1.0 + x))); }
  return 1.57079632679489 - small_arc_sine(x);
}
