// mergekit's slerp of two flattened tensors. knobs: t.
#include "mix/shared/angles"
#include "mix/shared/spherical"
fn solve() {
  let t = p.knobs.x;
  let na = sqrt(product(0u, 0u));
  let nb = sqrt(product(1u, 1u));
  let c = clamp(product(0u, 1u) / select(1.0, na, na > 1e-8) / select(1.0, nb, nb > 1e-8), -1.0, 1.0);
  var f = array<f32, 8>(1.0 - t, t, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
  if (abs(c) <= 0.9995) {
    let angle = arc_cosine(c);
    f[0] = sine((1.0 - t) * angle) / sine(angle);
    f[1] = sine(t * angle) / sine(angle);
  }
  give(&f);
}
