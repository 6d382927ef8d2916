// mergekit's multislerp: weighted mean in the tangent space at the normalised weighted mean, and back by the exponential map.
#include "mix/shared/angles"
#include "mix/shared/spherical"
fn solve() {
  var norm: array<f32, 8>;
  var mean: array<f32, 8>;
  var tangent: array<f32, 8>;
  var f: array<f32, 8>;
  let eps = 1e-8;
  for (var i = 0u; i < N; i++) { norm[i] = sqrt(product(i, i)); }
  var square = 0.0;
  for (var i = 0u; i < N; i++) {
    for (var j = 0u; j < N; j++) {
      square += weight(i) * weight(j) * (product(i, j) / (norm[i] + eps) / (norm[j] + eps));
    }
  }
  let length = sqrt(max(square, 0.0));
  if (length < eps) {
    // No mean direction: the weighted sum.
    for (var i = 0u; i < N; i++) { f[i] = weight(i); }
    give(&f);
    return;
  }
  for (var i = 0u; i < N; i++) { mean[i] = weight(i) / length; }
  var pull = 0.0;
  for (var i = 0u; i < N; i++) {
    var cosine_to_mean = 0.0;
    for (var j = 0u; j < N; j++) { cosine_to_mean += mean[j] * (product(i, j) / (norm[i] + eps) / (norm[j] + eps)); }
    pull += weight(i) * cosine_to_mean;
  }
  for (var i = 0u; i < N; i++) { tangent[i] = weight(i) - pull * mean[i]; }
  square = 0.0;
  for (var i = 0u; i < N; i++) {
    for (var j = 0u; j < N; j++) {
      square += tangent[i] * tangent[j] * (product(i, j) / (norm[i] + eps) / (norm[j] + eps));
    }
  }
  let angle = sqrt(max(square, 0.0)) + eps;
  var scale = 0.0;
  for (var i = 0u; i < N; i++) { scale += weight(i) * norm[i]; }
  for (var i = 0u; i < N; i++) {
    f[i] = scale * (mean[i] * cosine(angle) + tangent[i] * (sine(angle) / angle)) / (norm[i] + eps);
  }
  give(&f);
}
