// SuperMerger's cosineA (UNIT 1) and cosineB (UNIT 0): for every column the share of the base. sums: a.b, a.a, b.b of the columns.
// One workgroup adds the whole-tensor cosine up, then writes. columns; low, high: the model-wide range of cosines; alpha.
struct Params { columns: u32, pad0: u32, pad1: u32, pad2: u32, low: f32, high: f32, alpha: f32, pad3: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> shares: array<f32>;
var<workgroup> parts: array<vec3<f32>, 64>;

fn cosine_of(c: u32) -> f32 {
  let least = select(1e-8, 1e-12, UNIT == 1u);
  return sums[3u * c] / (max(sqrt(sums[3u * c + 1u]), least) * max(sqrt(sums[3u * c + 2u]), least));
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  var part = vec3<f32>(0.0);
  for (var c = lane; c < p.columns; c += 64u) {
    if (UNIT == 1u) {
      part += vec3<f32>(cosine_of(c), select(0.0, 1.0, sums[3u * c + 1u] > 0.0), select(0.0, 1.0, sums[3u * c + 2u] > 0.0));
    } else {
      part += vec3<f32>(sums[3u * c], sums[3u * c + 1u], sums[3u * c + 2u]);
    }
  }
  parts[lane] = part;
  workgroupBarrier();
  var total = vec3<f32>(0.0);
  for (var i = 0u; i < 64u; i++) { total += parts[i]; }
  let norms = sqrt(total.y) * sqrt(total.z);
  for (var c = lane; c < p.columns; c += 64u) {
    let both = 0.5 * (cosine_of(c) + total.x / norms);
    // A tensor of zeros has no direction: the base stays.
    shares[c] = select(clamp((both - p.low) / (p.high - p.low) - p.alpha, 0.0, 1.0), 1.0, norms == 0.0);
  }
}
