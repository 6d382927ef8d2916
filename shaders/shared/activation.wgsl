// Activations by the codes of kernels/activation.rs: 0 none, 1 SiLU, 2 GELU (erf), 3 quick GELU, 4 ReLU.

// erf after Abramowitz & Stegun 7.1.26 is only good to 1.5e-7 absolute, which f32 cannot tell from exact near 1 but shows near 0;
// the series below 0.5 keeps the relative error at a few units in the last place.
fn erf1(x: f32) -> f32 {
  let a = abs(x);
  if (a < 0.5) {
    let t = x * x;
    return x * (1.1283791671 + t * (-0.37612638903 + t * (0.11283791671 + t * (-0.026866170645 + t * (0.0052239776254 - t * 0.00085483270)))));
  }
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(x) * (1.0 - poly * exp(-a * a));
}

fn gelu(x: vec4<f32>) -> vec4<f32> {
  let s = x * 0.70710678118;
  return 0.5 * x * (1.0 + vec4<f32>(erf1(s.x), erf1(s.y), erf1(s.z), erf1(s.w)));
}

fn activate(x: vec4<f32>, code: u32) -> vec4<f32> {
  switch code {
    case 1u: { return x / (1.0 + exp(-x)); }
    case 2u: { return gelu(x); }
    case 3u: { return x / (1.0 + exp(-1.702 * x)); }
    case 4u: { return max(x, vec4<f32>(0.0)); }
    default: { return x; }
  }
}
