// CFG rescale (Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2023, eq. 14-16) in place:
// g *= phi std(cond) / std(g) + 1 - phi, standard deviations over one sample. Mirrors kernels/rescale.rs.
struct Params { per_sample: u32, c: u32, ld: u32, rows: u32, cond_at: u32, phi: f32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> cond: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<f32>;

var<workgroup> parts: array<vec2<f32>, 64>;

fn total(value: vec2<f32>, lane: u32) -> vec2<f32> {
  parts[lane] = value;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s /= 2u) {
    if (lane < s) { parts[lane] += parts[lane + s]; }
    workgroupBarrier();
  }
  let sum = parts[0];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let start = wg.x * p.per_sample;
  var sum = vec2<f32>(0.0);
  for (var i = lane; i < p.per_sample; i += 64u) {
    if (i % p.ld < p.c) { sum += vec2<f32>(cond[p.cond_at + start + i], g[start + i]); }
  }
  let count = f32(p.rows * p.c);
  let mean = total(sum, lane) / count;
  var square = vec2<f32>(0.0);
  for (var i = lane; i < p.per_sample; i += 64u) {
    if (i % p.ld < p.c) {
      let d = vec2<f32>(cond[p.cond_at + start + i], g[start + i]) - mean;
      square += d * d;
    }
  }
  let variance = total(square, lane);
  // The same divisor (n or n - 1) on both sides cancels.
  let factor = p.phi * sqrt(variance.x / variance.y) + 1.0 - p.phi;
  for (var i = lane; i < p.per_sample; i += 64u) { g[start + i] *= factor; }
}
