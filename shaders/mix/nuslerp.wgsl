// mergekit's nuslerp, flattened. knobs: t.
#include "mix/shared/angles"
#include "mix/shared/spherical"
fn solve() {
  let t = p.knobs.x;
  let c = clamp(product(0u, 1u) / max(sqrt(product(0u, 0u)), 1e-7) / max(sqrt(product(1u, 1u)), 1e-7), -1.0, 1.0);
  var f = array<f32, 8>(1.0 - t, t, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
  // Colinear to the last bit of f32.
  if (1.0 - c * c > 1e-16) {
    let angle = arc_cosine(c);
    f[0] = sine((1.0 - t) * angle) / sine(angle);
    f[1] = sine(t * angle) / sine(angle);
  }
  give(&f);
}
