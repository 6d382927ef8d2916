// C = activation(A B o factors + bias + row_bias) + residual, as matrix product or as implicit-GEMM convolution. Mirrors `GemmParams` in kernels/gemm.rs.
//
// A: rows of activations, K contiguous (NHWC). As a convolution the rows are output pixels and A is a zero-padded NHWC picture, read at
// taps (ty, tx). B: packed weights [tap][k][n], n contiguous, as f32 or (W_F16) as pairs of f16.
// TILED 0: one thread owns 8 x 8 results in registers and reads global memory directly; best where workgroup memory is ordinary memory.
// TILED 1: 64 x 64 tiles through workgroup memory, 4 x 4 results a thread; for hardware adapters.
// GLU: columns come in groups of eight, four values then their four gates; C gets value * gelu(gate).
#include "shared/activation"

struct Params {
  m: u32, k4: u32, n4: u32, lda4: u32,
  ldb4: u32, ldc4: u32, ldr4: u32, act: u32,
  kernel: u32, stride: u32, out_w: u32, out_hw: u32,
  // has_residual: 0 none, 1 after the activation, 2 before it.
  in_w: u32, in_hw: u32, has_bias: u32, has_residual: u32,
  has_row_bias: u32, row_bias_at4: u32, scale: f32, row_bias_ld4: u32,
  // factors: a row for the product's columns, then one for the bias's.
  has_factors: u32, pad0: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
#if W_F16
@group(0) @binding(2) var<storage, read> b: array<vec2<u32>>;
fn load_b(i: u32) -> vec4<f32> { let w = b[i]; return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
#else
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
fn load_b(i: u32) -> vec4<f32> { return b[i]; }
#endif
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> row_bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> factors: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> c: array<vec4<f32>>;

// Where row `r` of A starts, in vec4 units.
fn row_start(r: u32) -> u32 {
#if CONV
  let n = r / p.out_hw;
  let q = r - n * p.out_hw;
  let y = q / p.out_w;
  let x = q - y * p.out_w;
  return (n * p.in_hw + y * p.stride * p.in_w + x * p.stride) * p.lda4;
#else
  return r * p.lda4;
#endif
}

fn finish(sum: vec4<f32>, row: u32, col: u32) -> vec4<f32> {
  var v = sum * p.scale;
  if (p.has_factors != 0u) {
    v *= factors[col];
    if (p.has_bias != 0u) { v += bias[col] * factors[p.n4 + col]; }
  } else if (p.has_bias != 0u) {
    v += bias[col];
  }
#if CONV
  // One row for all pictures (ld4 0) or one for each.
  if (p.has_row_bias != 0u) { v += row_bias[p.row_bias_at4 + row / p.out_hw * p.row_bias_ld4 + col]; }
#else
  if (p.has_row_bias != 0u) { v += row_bias[p.row_bias_at4 + col]; }
#endif
  if (p.has_residual == 2u) { v += residual[row * p.ldr4 + col]; }
  v = activate(v, p.act);
  if (p.has_residual == 1u) { v += residual[row * p.ldr4 + col]; }
  return v;
}

#if TILED
var<workgroup> tile_a: array<vec4<f32>, 256>;
var<workgroup> tile_b: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tx = lane % 16u;
  let ty = lane / 16u;
  // Each thread brings one vec4 of A (row lane/4, k lane%4) and one of B (k lane/16, column lane%16) a round.
  let load_row = row_start(min(wg.y * 64u + lane / 4u, p.m - 1u));
  let load_col = min(wg.x * 16u + tx, p.n4 - 1u);
#for m 4
  var s$m = vec4<f32>(0.0);
#end
  let taps = p.kernel * p.kernel;
  for (var tap = 0u; tap < taps; tap++) {
#if CONV
    let shift = (tap / p.kernel * p.in_w + tap % p.kernel) * p.lda4;
#else
    let shift = 0u;
#endif
    for (var k = 0u; k < p.k4; k += 4u) {
      let ka = k + lane % 4u;
      tile_a[lane] = select(vec4<f32>(0.0), a[load_row + shift + min(ka, p.k4 - 1u)], ka < p.k4);
      let kb = min(k * 4u + ty, p.k4 * 4u - 1u);
      tile_b[lane] = load_b((tap * p.k4 * 4u + kb) * p.ldb4 + load_col);
      workgroupBarrier();
#for q 4
      {
#for i 4
        let b$i = tile_b[($qu * 4u + $iu) * 16u + tx];
#end
#for m 4
        let a$m = tile_a[(ty * 4u + $mu) * 4u + $qu];
        s$m = fma(vec4<f32>(a$m.x), b0, s$m);
        s$m = fma(vec4<f32>(a$m.y), b1, s$m);
        s$m = fma(vec4<f32>(a$m.z), b2, s$m);
        s$m = fma(vec4<f32>(a$m.w), b3, s$m);
#end
      }
#end
      workgroupBarrier();
    }
  }
  let col = wg.x * 16u + tx;
#for m 4
  {
    let row = wg.y * 64u + ty * 4u + $mu;
    if (row < p.m && col < p.n4) { c[row * p.ldc4 + col] = finish(s$m, row, col); }
  }
#end
}
#else
@compute @workgroup_size(WX, WY)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let col = id.x * 2u;
  let row = id.y * 8u;
  if (col >= p.n4 || row >= p.m) { return; }
  // An odd number of column groups: the last thread's second group repeats the first, and is not stored.
  let second = min(1u, p.n4 - 1u - col);
#for m 8
  let at$m = row_start(min(row + $mu, p.m - 1u));
  var s$m_0 = vec4<f32>(0.0);
  var s$m_1 = vec4<f32>(0.0);
#end
  var kb = col;
#if CONV
  for (var ty = 0u; ty < p.kernel; ty++) {
  for (var tx = 0u; tx < p.kernel; tx++) {
  let shift = (ty * p.in_w + tx) * p.lda4;
#else
  let shift = 0u;
#endif
  for (var k = 0u; k < p.k4; k++) {
#for m 8
    let a$m = a[at$m + shift + k];
#end
#for n 2
    let b0_$n = load_b(kb + $nu * second);
    let b1_$n = load_b(kb + p.ldb4 + $nu * second);
    let b2_$n = load_b(kb + 2u * p.ldb4 + $nu * second);
    let b3_$n = load_b(kb + 3u * p.ldb4 + $nu * second);
#for m 8
    s$m_$n = fma(vec4<f32>(a$m.x), b0_$n, s$m_$n);
    s$m_$n = fma(vec4<f32>(a$m.y), b1_$n, s$m_$n);
    s$m_$n = fma(vec4<f32>(a$m.z), b2_$n, s$m_$n);
    s$m_$n = fma(vec4<f32>(a$m.w), b3_$n, s$m_$n);
#end
#end
    kb += 4u * p.ldb4;
  }
#if CONV
  }
  }
#endif
#for m 8
  {
    let r = row + $mu;
    if (r < p.m) {
#if GLU
      let value = s$m_0 + bias[col];
      let gate = s$m_1 + bias[col + 1u];
      c[r * p.ldc4 + col / 2u] = value * gelu(gate);
#else
      c[r * p.ldc4 + col] = finish(s$m_0, r, col);
      if (col + 1u < p.n4) { c[r * p.ldc4 + col + 1u] = finish(s$m_1, r, col + 1u); }
#endif
    }
  }
#end
}
#endif
