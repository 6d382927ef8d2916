// Group statistics of an NHWC picture: mean and 1/sqrt(var + eps) of every (sample, group), in two passes over the data so that a large
// mean costs no digits. One workgroup of WG lanes a group. Mirrors kernels/group_norm.rs.
struct Params { hw: u32, ld: u32, groups: u32, per_group: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;

var<workgroup> sums: array<f32, WG>;

fn total(value: f32, lane: u32) -> f32 {
  sums[lane] = value;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s /= 2u) {
    if (lane < s) { sums[lane] += sums[lane + s]; }
    workgroupBarrier();
  }
  let sum = sums[0];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sample = wg.x / p.groups;
  let group = wg.x - sample * p.groups;
  let start = sample * p.hw * p.ld + group * p.per_group;
  var sum = 0.0;
  for (var i = lane; i < p.hw; i += WG) {
    let row = start + i * p.ld;
    var part = 0.0;
    for (var c = 0u; c < p.per_group; c++) { part += x[row + c]; }
    sum += part;
  }
  let count = f32(p.hw) * f32(p.per_group);
  let mean = total(sum, lane) / count;
  var square = 0.0;
  for (var i = lane; i < p.hw; i += WG) {
    let row = start + i * p.ld;
    var part = 0.0;
    for (var c = 0u; c < p.per_group; c++) { let d = x[row + c] - mean; part += d * d; }
    square += part;
  }
  let variance = total(square, lane) / count;
  if (lane == 0u) {
    stats[wg.x * 2u] = mean;
    stats[wg.x * 2u + 1u] = inverseSqrt(variance + p.eps);
  }
}
