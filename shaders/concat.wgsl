// Columns of a, then columns of b: the skip connections of a U-Net. Four columns a thread. Mirrors kernels/concat.rs.
struct Params { ca: u32, cb: u32, lda: u32, ldb: u32, ldc4: u32, total: u32, row_groups: u32, pad0: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;

fn fetch(row: u32, col: u32) -> f32 {
  if (col < p.ca) { return a[row * p.lda + col]; }
  if (col < p.ca + p.cb) { return b[row * p.ldb + col - p.ca]; }
  return 0.0;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let row = at / p.ldc4;
  let col = (at - row * p.ldc4) * 4u;
  c[at] = vec4<f32>(fetch(row, col), fetch(row, col + 1u), fetch(row, col + 2u), fetch(row, col + 3u));
}
