// Factors that give every slice of x along one dimension its own length: factors[i] = lengths[i] / |x[:, i, :]|. A slice of zeros stays one.
// x: [before, n, behind]. One workgroup a slice. Mirrors gpu/mix/src/change.rs.
struct Params { before: u32, n: u32, behind: u32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<f32>;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  // The same for all lanes of a workgroup, so that the barriers stand in uniform control flow.
  let i = wg.y * p.row_groups + wg.x;
  let count = select(0u, p.before * p.behind, i < p.n);
  var sum = 0.0;
  for (var e = lane; e < count; e += 64u) {
    let line = e / p.behind;
    let v = x[(line * p.n + i) * p.behind + e - line * p.behind];
    sum += v * v;
  }
  parts[lane] = sum;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s /= 2u) {
    if (lane < s) { parts[lane] += parts[lane + s]; }
    workgroupBarrier();
  }
  if (lane == 0u && i < p.n) { factors[i] = lengths[i] / max(sqrt(parts[0]), 1e-30); }
}
