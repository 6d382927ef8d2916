// Moves NHWC pictures: nearest upsampling to mid_h x mid_w, then a zero border (top, left, and whatever remains of out_h x out_w). x may be a
// strip of rows: then only pixels from `first` on are written, and top may have wrapped below 0.
// Mirrors kernels/picture.rs.
struct Params {
  in_h: u32, in_w: u32, mid_h: u32, mid_w: u32,
  out_w: u32, out_hw: u32, top: u32, left: u32,
  ld4: u32, total: u32, row_groups: u32, first: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let nth = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (nth >= p.total) { return; }
  let at = p.first * p.ld4 + nth;
  let pixel = at / p.ld4;
  let c4 = at - pixel * p.ld4;
  let sample = pixel / p.out_hw;
  let q = pixel - sample * p.out_hw;
  let oy = q / p.out_w - p.top;
  let ox = q % p.out_w - p.left;
  if (oy >= p.mid_h || ox >= p.mid_w) {
    y[at] = vec4<f32>(0.0);
    return;
  }
  let iy = oy * p.in_h / p.mid_h;
  let ix = ox * p.in_w / p.mid_w;
  y[at] = x[((sample * p.in_h + iy) * p.in_w + ix) * p.ld4 + c4];
}
