// Guidance on whole samples, from the dot products of a and b: what is parallel, what is orthogonal, the main direction of both, a shorter
// vector. One workgroup a sample. Mirrors kernels/project.rs.
struct Params { per_sample: u32, a_at: u32, b_at: u32, mode: u32, keep: f32, along: f32, eps: f32, radius: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

var<workgroup> parts: array<vec3<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let start = wg.x * p.per_sample;
  var sum = vec3<f32>(0.0);
  for (var i = lane; i < p.per_sample; i += 64u) {
    let x = a[p.a_at + start + i];
    let y = b[p.b_at + start + i];
    sum += vec3<f32>(x * x, x * y, y * y);
  }
  parts[lane] = sum;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s /= 2u) {
    if (lane < s) { parts[lane] += parts[lane + s]; }
    workgroupBarrier();
  }
  let d = parts[0];
  // dst = e a + f b
  var e = p.keep;
  var f = p.along * d.y / max(d.z + p.eps, 1e-37);
  if (p.mode == 1u) {
    let half = 0.5 * (d.x - d.z);
    let top = 0.5 * (d.x + d.z) + sqrt(half * half + d.y * d.y);
    var v = vec2<f32>(d.y, top - d.x);
    if (d.x >= d.z) { v = vec2<f32>(top - d.z, d.y); }
    // Of length 1 before it is multiplied: squares of small dot products would vanish.
    v /= max(max(abs(v.x), abs(v.y)), 1e-37);
    let along = (v.x * d.y + v.y * d.z) / max(top * dot(v, v), 1e-37);
    e = along * v.x;
    f = along * v.y;
  } else if (p.mode == 2u) {
    e = min(1.0, p.radius / max(sqrt(d.x), 1e-37));
    f = 0.0;
  }
  for (var i = lane; i < p.per_sample; i += 64u) {
    dst[start + i] = e * a[p.a_at + start + i] + f * b[p.b_at + start + i];
  }
}
