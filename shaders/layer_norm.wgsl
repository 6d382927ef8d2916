// Layer norm over the columns of each row, two passes. WG lanes share a row (WG 1: a thread a row). Mirrors kernels/layer_norm.rs.
struct Params { rows: u32, c: u32, ld: u32, eps: f32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

#if SHARED
var<workgroup> sums: array<f32, 64>;
fn total(value: f32, lane: u32) -> f32 {
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = min(wg.y * p.row_groups + wg.x, p.rows - 1u);
  let start = row * p.ld;
  var sum = 0.0;
  for (var i = lane; i < p.c; i += 64u) { sum += x[start + i]; }
  let mean = total(sum, lane) / f32(p.c);
  var square = 0.0;
  for (var i = lane; i < p.c; i += 64u) { let d = x[start + i] - mean; square += d * d; }
  let rstd = inverseSqrt(total(square, lane) / f32(p.c) + p.eps);
  for (var i = lane; i < p.ld; i += 64u) {
    y[start + i] = select(0.0, (x[start + i] - mean) * rstd * gamma[i] + beta[i], i < p.c);
  }
}
#else
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = (wg.y * p.row_groups + wg.x) * 8u + lane;
  if (row >= p.rows) { return; }
  let start = row * p.ld;
  var sum = 0.0;
  for (var i = 0u; i < p.c; i++) { sum += x[start + i]; }
  let mean = sum / f32(p.c);
  var square = 0.0;
  for (var i = 0u; i < p.c; i++) { let d = x[start + i] - mean; square += d * d; }
  let rstd = inverseSqrt(square / f32(p.c) + p.eps);
  for (var i = 0u; i < p.ld; i++) {
    y[start + i] = select(0.0, (x[start + i] - mean) * rstd * gamma[i] + beta[i], i < p.c);
  }
}
#endif
