// A matrix along one dimension: y[p, r, q] = base[p, r, q] + scale * sum over i of x[p, i, q] m[i, r]. Mirrors gpu/mix/src/change.rs.
//
// x: [before, n, behind]; m: [n, rank]; y and base: [before, rank, behind]; `add` 0: without base. One element a thread.
struct Params { n: u32, behind: u32, rank: u32, total: u32, row_groups: u32, add: u32, scale: f32, pad0: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> m: array<f32>;
@group(0) @binding(3) var<storage, read> base: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let q = at % p.behind;
  let line = at / p.behind;
  let r = line % p.rank;
  let start = line / p.rank * p.n * p.behind + q;
  var sum = 0.0;
  for (var i = 0u; i < p.n; i++) { sum += x[start + i * p.behind] * m[i * p.rank + r]; }
  sum *= p.scale;
  if (p.add != 0u) { sum += base[at]; }
  y[at] = sum;
}
