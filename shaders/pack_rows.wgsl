// A dense matrix [rows, cols] -> rows padded with zeros to fours, as f32 or (DST_F16) f16 pairs: embedding tables. Mirrors kernels/pack.rs.
struct Params { rows: u32, cols: u32, cols4: u32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>;
#if DST_F16
@group(0) @binding(2) var<storage, read_write> dst: array<vec2<u32>>;
#else
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<f32>>;
#endif

fn fetch(row: u32, col: u32) -> f32 {
  if (col >= p.cols) { return 0.0; }
  let at = row * p.cols + col;
#if SRC_F16
  let pair = unpack2x16float(src[at / 2u]);
  return select(pair.x, pair.y, at % 2u == 1u);
#else
  return bitcast<f32>(src[at]);
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  let row = at / p.cols4;
  let col = at - row * p.cols4;
  if (row >= p.rows) { return; }
#for i 4
  let v$i = fetch(row, col * 4u + $iu);
#end
#if DST_F16
  dst[at] = vec2<u32>(pack2x16float(vec2<f32>(v0, v1)), pack2x16float(vec2<f32>(v2, v3)));
#else
  dst[at] = vec4<f32>(v0, v1, v2, v3);
#endif
}
