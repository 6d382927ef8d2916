// mergekit's model_stock: t avg + (1 - t) base with t = N c / (1 + (N - 1) c), c the mean cosine of pairs of changes.
#include "mix/shared/spherical"
fn solve() {
  var sum = 0.0;
  var pairs = 0.0;
  for (var i = 0u; i < N; i++) {
    for (var j = i + 1u; j < N; j++) {
      let norms = sqrt(product(i, i)) * sqrt(product(j, j));
      sum += clamp(product(i, j) / max(norms, 1e-6), -1.0, 1.0);
      pairs += 1.0;
    }
  }
  let c = sum / pairs;
  let below = 1.0 + f32(N - 1u) * c;
  // No finite estimate: keep the base.
  let t = select(f32(N) * c / below, 0.0, abs(below) < 1e-6);
  var f: array<f32, 8>;
  for (var i = 0u; i < N; i++) { f[i] = t / f32(N); }
  give(&f);
}
