// x + mask (blurred - clean): latents blurred where attention looks, noise as it was (self-attention guidance). The mask is 1 where the mass of the
// nearest coarse cell is above 1. Mirrors kernels/attention_mass.rs.
struct Params { h: u32, w: u32, ch: u32, cw: u32, ld: u32, mass_at: u32, total: u32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> clean: array<f32>;
@group(0) @binding(3) var<storage, read> blurred: array<f32>;
@group(0) @binding(4) var<storage, read> mass: array<f32>;
@group(0) @binding(5) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let cell = at / p.ld;
  let sample = cell / (p.h * p.w);
  let i = cell / p.w - sample * p.h;
  let j = cell % p.w;
  let coarse = (sample * p.ch + i * p.ch / p.h) * p.cw + j * p.cw / p.w;
  var v = x[at];
  if (mass[p.mass_at + coarse * 4u] > 1.0) { v += blurred[at] - clean[at]; }
  dst[at] = v;
}
