// Group statistics of an NHWC picture that lies in several buffers, strips of its rows: one call a strip and pass. The sums of every lane go on
// from strip to strip in `sums`, so that they are added in the order of norm_stats.wgsl and give its bits. The first pass ends in means, the
// second (square) in 1/sqrt(var + eps). One workgroup of WG lanes a group. Mirrors kernels/strips.rs.
struct Params {
  // Pixels of this strip, those before it, those of the picture.
  pixels: u32, before: u32, all: u32, ld: u32,
  groups: u32, per_group: u32, square: u32, eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<f32>;

var<workgroup> parts: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let slot = wg.x * WG + lane;
  let start = wg.x * p.per_group;
  var sum = 0.0;
  if (p.before != 0u) { sum = sums[slot]; }
  // The first pixel of this strip that is this lane's: every WG-th of the picture.
  let first = (lane + WG - p.before % WG) % WG;
  if (p.square == 0u) {
    for (var i = first; i < p.pixels; i += WG) {
      let row = start + i * p.ld;
      var part = 0.0;
      for (var c = 0u; c < p.per_group; c++) { part += x[row + c]; }
      sum += part;
    }
  } else {
    let mean = stats[wg.x * 2u];
    for (var i = first; i < p.pixels; i += WG) {
      let row = start + i * p.ld;
      var part = 0.0;
      for (var c = 0u; c < p.per_group; c++) { let d = x[row + c] - mean; part += d * d; }
      sum += part;
    }
  }
  sums[slot] = sum;
  parts[lane] = sum;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s /= 2u) {
    if (lane < s) { parts[lane] += parts[lane + s]; }
    workgroupBarrier();
  }
  // The last strip completes the sums.
  if (lane == 0u && p.before + p.pixels == p.all) {
    let mean = parts[0] / (f32(p.all) * f32(p.per_group));
    if (p.square == 0u) { stats[wg.x * 2u] = mean; } else { stats[wg.x * 2u + 1u] = inverseSqrt(mean + p.eps); }
  }
}
