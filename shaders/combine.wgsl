// dst = sum of up to four coef * src, element-wise: every step of every solver, and guidance. Offsets count vec4. Mirrors kernels/combine.rs.
struct Params { coef: vec4<f32>, at: vec4<u32>, count: u32, dst_at: u32, sources: u32, row_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> c: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> d: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dst: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (i >= p.count) { return; }
  var v = p.coef.x * a[p.at.x + i];
  if (p.sources > 1u) { v += p.coef.y * b[p.at.y + i]; }
  if (p.sources > 2u) { v += p.coef.z * c[p.at.z + i]; }
  if (p.sources > 3u) { v += p.coef.w * d[p.at.w + i]; }
  dst[p.dst_at + i] = v;
}
