// Dynamic thresholding of latents in place: each channel of a sample, less its mean, is brought from its own scale to that of `like`.
// One workgroup a (sample, channel). The quantile is found on the bits of the magnitudes, eight at a time. Mirrors kernels/threshold.rs.
struct Params { rows: u32, c: u32, ld: u32, deviation: u32, rank: u32, weight: f32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> like: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

var<workgroup> sums: array<vec2<f32>, 64>;
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> prefix: u32;
var<workgroup> below: u32;
var<workgroup> nearest: atomic<u32>;

fn total(value: vec2<f32>, lane: u32) -> vec2<f32> {
  sums[lane] = value;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s /= 2u) {
    if (lane < s) { sums[lane] += sums[lane + s]; }
    workgroupBarrier();
  }
  let sum = sums[0];
  workgroupBarrier();
  return sum;
}

fn most(value: f32, lane: u32) -> f32 {
  sums[lane] = vec2<f32>(value);
  workgroupBarrier();
  for (var s = 32u; s > 0u; s /= 2u) {
    if (lane < s) { sums[lane] = max(sums[lane], sums[lane + s]); }
    workgroupBarrier();
  }
  let top = sums[0].x;
  workgroupBarrier();
  return top;
}

// Bits of the magnitude of rank p.rank, counted from the smallest, and how many are as small or smaller.
fn ranked(start: u32, mean: f32, lane: u32) -> vec2<u32> {
  if (lane == 0u) { prefix = 0u; below = 0u; }
  workgroupBarrier();
  for (var shift = 24i; shift >= 0i; shift -= 8i) {
    for (var i = lane; i < 256u; i += 64u) { atomicStore(&bins[i], 0u); }
    workgroupBarrier();
    // Shifting by 32 is undefined: the first round has no prefix to compare.
    let known = prefix;
    for (var i = lane; i < p.rows; i += 64u) {
      let bits = bitcast<u32>(abs(x[start + i * p.ld] - mean));
      if (shift == 24i || (bits >> (u32(shift) + 8u)) == known) { atomicAdd(&bins[(bits >> u32(shift)) & 255u], 1u); }
    }
    workgroupBarrier();
    if (lane == 0u) {
      var seen = below;
      var bin = 0u;
      loop {
        let count = atomicLoad(&bins[bin]);
        if (seen + count > p.rank || bin == 255u) { break; }
        seen += count;
        bin += 1u;
      }
      below = seen;
      prefix = (prefix << 8u) | bin;
      if (shift == 0i) { below = seen + atomicLoad(&bins[bin]); }
    }
    workgroupBarrier();
  }
  let found = vec2<u32>(prefix, below);
  workgroupBarrier();
  return found;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sample = wg.x / p.c;
  let start = sample * p.rows * p.ld + wg.x - sample * p.c;
  var sum = vec2<f32>(0.0);
  for (var i = lane; i < p.rows; i += 64u) { sum += vec2<f32>(like[start + i * p.ld], x[start + i * p.ld]); }
  let mean = total(sum, lane) / f32(p.rows);
  var factor = 1.0;
  var top = 3.4e38;
  if (p.deviation == 1u) {
    var square = vec2<f32>(0.0);
    for (var i = lane; i < p.rows; i += 64u) {
      let d = vec2<f32>(like[start + i * p.ld], x[start + i * p.ld]) - mean;
      square += d * d;
    }
    let variance = total(square, lane);
    factor = sqrt(variance.x / max(variance.y, 1e-37));
  } else {
    var high = 0.0;
    for (var i = lane; i < p.rows; i += 64u) { high = max(high, abs(like[start + i * p.ld] - mean.x)); }
    high = most(high, lane);
    let found = ranked(start, mean.y, lane);
    if (lane == 0u) { atomicStore(&nearest, 0x7f800000u); }
    workgroupBarrier();
    for (var i = lane; i < p.rows; i += 64u) {
      let bits = bitcast<u32>(abs(x[start + i * p.ld] - mean.y));
      if (bits > found.x) { atomicMin(&nearest, bits); }
    }
    workgroupBarrier();
    let low = bitcast<f32>(found.x);
    var next = low;
    if (found.y < p.rank + 2u && found.y < p.rows) { next = bitcast<f32>(atomicLoad(&nearest)); }
    top = max(low + (next - low) * p.weight, high);
    factor = high / max(top, 1e-37);
  }
  for (var i = lane; i < p.rows; i += 64u) {
    let at = start + i * p.ld;
    x[at] = clamp(x[at] - mean.y, -top, top) * factor + mean.y;
  }
}
