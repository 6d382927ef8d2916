// Square blocks on the diagonal of one dimension, after a permutation. Mirrors gpu/mix/src/change.rs.
//
// x, y: [before, n, behind]; blocks: [n / size, size, size]; y[p, order[k size + i], q] = sum over j of
// blocks[k, i, j] x[p, order[k size + j], q]. One element a thread.
struct Params { n: u32, behind: u32, size: u32, total: u32, row_groups: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> blocks: array<f32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let q = at % p.behind;
  let line = at / p.behind;
  let i = line % p.n;
  let start = line - i;
  let first = i / p.size * p.size;
  var sum = 0.0;
  for (var j = 0u; j < p.size; j++) {
    sum += blocks[i * p.size + j] * x[(start + order[first + j]) * p.behind + q];
  }
  y[(start + order[i]) * p.behind + q] = sum;
}
