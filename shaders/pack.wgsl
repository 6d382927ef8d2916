// Checkpoint layout [o, i, taps] -> packed [tap][i][o], o contiguous and padded with zeros to fours. Mirrors kernels/pack.rs.
// SRC_F16: the source holds f16 pairs (two to a word); otherwise f32. DST_F16: the result holds f16 pairs.
struct Params {
  out: u32, inp: u32, taps: u32, inp_padded: u32,
  dst_ld4: u32, dst_at4: u32, cols4: u32, glu: u32,
  rows: u32, row_groups: u32, src_at: u32, pad2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>;
#if DST_F16
@group(0) @binding(2) var<storage, read_write> dst: array<vec2<u32>>;
#else
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<f32>>;
#endif

fn fetch(o: u32, k: u32, tap: u32) -> f32 {
  if (o >= p.out || k >= p.inp) { return 0.0; }
  let at = p.src_at + (o * p.inp + k) * p.taps + tap;
#if SRC_F16
  let pair = unpack2x16float(src[at / 2u]);
  return select(pair.x, pair.y, at % 2u == 1u);
#else
  return bitcast<f32>(src[at]);
#endif
}

// Output feature that packed column `j` holds; GLU interleaves four values and their four gates.
fn feature(j: u32) -> u32 {
  if (p.glu == 0u) { return j; }
  let half = p.out / 2u;
  let value = j / 8u * 4u + j % 4u;
  if (value >= half) { return p.out; }
  return select(value, half + value, j % 8u >= 4u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  let row = at / p.cols4;
  let col = at - row * p.cols4;
  if (row >= p.rows) { return; }
  let tap = row / p.inp_padded;
  let k = row - tap * p.inp_padded;
#for i 4
  let v$i = fetch(feature(col * 4u + $iu), k, tap);
#end
#if DST_F16
  dst[row * p.dst_ld4 + p.dst_at4 + col] = vec2<u32>(pack2x16float(vec2<f32>(v0, v1)), pack2x16float(vec2<f32>(v2, v3)));
#else
  dst[row * p.dst_ld4 + p.dst_at4 + col] = vec4<f32>(v0, v1, v2, v3);
#endif
}
