// y[c][r] = x[r][at + c]: keys of one attention head, laid out as the second operand of a product. Mirrors kernels/transpose.rs.
struct Params { rows: u32, cols: u32, ldx: u32, ldy: u32, x_at: u32, total: u32, row_groups: u32, pad0: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let c = at / p.ldy;
  let r = at - c * p.ldy;
  var v = 0.0;
  if (c < p.cols && r < p.rows) { v = x[p.x_at + r * p.ldx + c]; }
  y[at] = v;
}
