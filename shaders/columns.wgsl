// Copies a block of columns into rows padded with zeros, or (IN_PLACE) only zeroes the padding. Mirrors kernels/elementwise.rs.
struct Params { x_at: u32, ldx: u32, ldy: u32, cols: u32, rows: u32, total: u32, row_groups: u32, pad0: u32 }
@group(0) @binding(0) var<uniform> p: Params;
#if IN_PLACE
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let row = at / p.ldy;
  let col = at - row * p.ldy;
#if IN_PLACE
  if (col >= p.cols) { y[at] = 0.0; }
#else
  var v = 0.0;
  if (col < p.cols && row < p.rows) { v = x[p.x_at + row * p.ldx + col]; }
  y[at] = v;
#endif
}
