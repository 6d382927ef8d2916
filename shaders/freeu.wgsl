// FreeU's Fourier filter in place, and a factor on columns. With threshold 1 the filter scales the frequencies 0 and -1 of each axis: four sums a
// channel find them exactly, so no transform is needed. One thread a (sample, channel). Mirrors kernels/freeu.rs.
struct Params { h: u32, w: u32, c: u32, ld: u32, samples: u32, lowest: u32, factor: f32, pad0: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

const TAU: f32 = 6.28318530717958647692;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = wg.x * 64u + lane;
  if (at >= p.samples * p.c) { return; }
  let sample = at / p.c;
  let start = sample * p.h * p.w * p.ld + at - sample * p.c;
  if (p.lowest == 0u) {
    for (var i = 0u; i < p.h * p.w; i++) { x[start + i * p.ld] *= p.factor; }
    return;
  }
  // Real and imaginary parts of the spectrum at (0, 0), (0, -1), (-1, 0) and (-1, -1).
  var re = vec4<f32>(0.0);
  var im = vec4<f32>(0.0);
  for (var i = 0u; i < p.h; i++) {
    let u = TAU * f32(i) / f32(p.h);
    for (var j = 0u; j < p.w; j++) {
      let v = TAU * f32(j) / f32(p.w);
      let phase = vec4<f32>(0.0, v, u, u + v);
      let value = x[start + (i * p.w + j) * p.ld];
      re += value * cos(phase);
      im += value * sin(phase);
    }
  }
  // An axis of one cell has no frequency -1.
  let has = vec4<f32>(1.0, f32(p.w > 1u), f32(p.h > 1u), f32(p.w > 1u && p.h > 1u));
  let gain = has * (p.factor - 1.0) / f32(p.h * p.w);
  for (var i = 0u; i < p.h; i++) {
    let u = TAU * f32(i) / f32(p.h);
    for (var j = 0u; j < p.w; j++) {
      let v = TAU * f32(j) / f32(p.w);
      let phase = vec4<f32>(0.0, v, u, u + v);
      x[start + (i * p.w + j) * p.ld] += dot(gain, re * cos(phase) + im * sin(phase));
    }
  }
}
