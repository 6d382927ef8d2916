// In-place softmax of each row's first `cols` elements, after scaling; padding columns become 0. Mirrors kernels/softmax.rs.
struct Params { rows: u32, cols: u32, ld: u32, scale: f32, row_groups: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

var<workgroup> parts: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  // Surplus workgroups of the last grid row must touch nothing; the condition is uniform over the workgroup.
  let row = wg.y * p.row_groups + wg.x;
  if (row >= p.rows) { return; }
  let start = row * p.ld;
  var top = -3.0e38;
  for (var i = lane; i < p.cols; i += WG) { top = max(top, x[start + i] * p.scale); }
  parts[lane] = top;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s /= 2u) {
    if (lane < s) { parts[lane] = max(parts[lane], parts[lane + s]); }
    workgroupBarrier();
  }
  top = parts[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var i = lane; i < p.cols; i += WG) {
    let e = exp(x[start + i] * p.scale - top);
    x[start + i] = e;
    sum += e;
  }
  parts[lane] = sum;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s /= 2u) {
    if (lane < s) { parts[lane] += parts[lane + s]; }
    workgroupBarrier();
  }
  let inv = 1.0 / parts[0];
  for (var i = lane; i < p.ld; i += WG) { x[start + i] = select(0.0, x[start + i] * inv, i < p.cols); }
}
