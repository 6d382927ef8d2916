// totals[k] = sum of the k-th row of partial sums, in blocks of 64, so that errors grow with the square of neither.
struct Params { rows: u32, lanes: u32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> totals: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let row = wg.x * 64u + local;
  if (row >= p.rows) { return; }
  var total = 0.0;
  for (var block = 0u; block < p.lanes; block += 64u) {
    var part = 0.0;
    for (var i = 0u; i < 64u; i++) { part += sums[row * p.lanes + block + i]; }
    total += part;
  }
  totals[row] = total;
}
