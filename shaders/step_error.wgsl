// How far two estimates of a step lie apart: the root mean square of (low - high) / max(atol, rtol max(|low|, |before|)) over all elements, one number.
// One workgroup: a run asks once a step. Mirrors kernels/step_error.rs.
struct Params { atol: f32, rtol: f32, total: u32, count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> low: array<f32>;
@group(0) @binding(2) var<storage, read> high: array<f32>;
@group(0) @binding(3) var<storage, read> before: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

var<workgroup> parts: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < p.total; i += 256u) {
    let scale = max(p.atol, p.rtol * max(abs(low[i]), abs(before[i])));
    let part = (low[i] - high[i]) / max(scale, 1e-30);
    sum += part * part;
  }
  parts[lane] = sum;
  workgroupBarrier();
  for (var s = 128u; s > 0u; s /= 2u) {
    if (lane < s) { parts[lane] += parts[lane + s]; }
    workgroupBarrier();
  }
  if (lane == 0u) { out[0] = sqrt(parts[0] / f32(p.count)); }
}
