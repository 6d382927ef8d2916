// Gaussian blur of one axis of an NHWC picture, reflected at the borders, or the mean of all cells in every cell. Reads columns from x_at on.
// Mirrors kernels/blur.rs.
struct Params { h: u32, w: u32, c: u32, ldx: u32, ldy: u32, x_at: u32, axis: u32, reach: u32, inverse: f32, total: u32, row_groups: u32, pad0: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let row = at / p.ldy;
  let col = at - row * p.ldy;
  if (col >= p.c) {
    y[at] = 0.0;
    return;
  }
  let cells = p.h * p.w;
  let sample = row / cells;
  let cell = row - sample * cells;
  let first = p.x_at + sample * cells * p.ldx + col;
  var sum = 0.0;
  if (p.axis == 2u) {
    for (var i = 0u; i < cells; i++) { sum += x[first + i * p.ldx]; }
    y[at] = sum / f32(cells);
    return;
  }
  let i = cell / p.w;
  let j = cell - i * p.w;
  let size = i32(select(p.h, p.w, p.axis == 1u));
  let here = i32(select(i, j, p.axis == 1u));
  let reach = i32(p.reach);
  var weight = 0.0;
  for (var k = -reach; k <= reach; k++) {
    let z = f32(k) * p.inverse;
    let g = exp(-0.5 * z * z);
    // The kernel is shorter than the picture, so one reflection is enough.
    var to = abs(here + k);
    if (to >= size) { to = 2 * (size - 1) - to; }
    let other = select(u32(to) * p.w + j, i * p.w + u32(to), p.axis == 1u);
    sum += g * x[first + other * p.ldx];
    weight += g;
  }
  y[at] = sum / weight;
}
