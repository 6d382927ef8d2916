// SuperMerger's extract: b + lerp(m0 - b, m1 - b, alpha) lerp(d, 1 - d, beta) with d = ((cos + 1) / 2)^gamma, cos of the rows of both changes
// along the last dimension. products: three numbers a row (line_products.wgsl). knobs: alpha, beta, gamma, row length as integer.
#include "mix/shared/flat"
#include "mix/shared/powers"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> products: array<f32>;
fn share(e: u32) -> f32 {
  let row = 3u * (min(e, p.head.start + p.head.count - 1u) / bitcast<u32>(p.knobs.w));
  let norms = max(sqrt(products[row + 1u]), 1e-8) * max(sqrt(products[row + 2u]), 1e-8);
  let middle = 0.5 * (clamp(products[row] / norms, -1.0, 1.0) + 1.0);
  let power = exact_exp2(p.knobs.z * exact_log2(max(middle, 1.2e-38)));
  let d = select(select(power, 0.0, middle == 0.0), 1.0, p.knobs.z == 0.0);
  return mix(d, 1.0 - d, p.knobs.y);
}
fn four(x: Fours, e: vec4<u32>) -> vec4<f32> {
  let u = x.m0 - x.b;
  let v = x.m1 - x.b;
  return x.b + (u + p.knobs.x * (v - u)) * vec4<f32>(share(e.x), share(e.y), share(e.z), share(e.w));
}
#include "mix/shared/write"
