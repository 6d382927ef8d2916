// mergekit's karcher: the mean on the unit sphere by steps in the tangent space, all in the span of the unit vectors.
// knobs: most steps, tolerance.
#include "mix/shared/angles"
#include "mix/shared/spherical"
fn solve() {
  var norm: array<f32, 8>;
  var share: array<f32, 8>;
  var mean: array<f32, 8>;
  var f: array<f32, 8>;
  let tolerance = p.knobs.y;
  var scale = 0.0;
  var valid = 0.0;
  for (var i = 0u; i < N; i++) {
    norm[i] = sqrt(product(i, i));
    scale += norm[i] / f32(N);
    // Vectors without a direction do not vote.
    if (norm[i] > tolerance) { valid += 1.0; }
  }
  if (valid == 0.0) {
    give(&f);
    return;
  }
  var first = N;
  var square = 0.0;
  for (var i = 0u; i < N; i++) {
    if (norm[i] > tolerance) {
      share[i] = 1.0 / valid;
      first = min(first, i);
    }
  }
  for (var i = 0u; i < N; i++) {
    for (var j = 0u; j < N; j++) {
      if (share[i] > 0.0 && share[j] > 0.0) { square += share[i] * share[j] * (product(i, j) / norm[i] / norm[j]); }
    }
  }
  let length = sqrt(max(square, 0.0));
  for (var i = 0u; i < N; i++) { mean[i] = select(share[i] / length, select(0.0, 1.0, i == first), length < tolerance); }
  for (var step = 0u; step < u32(p.knobs.x); step++) {
    var tangent: array<f32, 8>;
    for (var i = 0u; i < N; i++) { tangent[i] = 0.0; }
    for (var i = 0u; i < N; i++) {
      if (share[i] > 0.0) {
        var c = 0.0;
        for (var j = 0u; j < N; j++) { if (share[j] > 0.0) { c += mean[j] * (product(i, j) / norm[i] / norm[j]); } }
        c = clamp(c, -1.0, 1.0);
        let angle = arc_cosine(c);
        if (angle >= tolerance) {
          let pull = share[i] * (angle / sine(angle));
          tangent[i] += pull;
          for (var j = 0u; j < N; j++) { tangent[j] -= pull * c * mean[j]; }
        }
      }
    }
    square = 0.0;
    for (var i = 0u; i < N; i++) {
      for (var j = 0u; j < N; j++) {
        if (share[i] > 0.0 && share[j] > 0.0) { square += tangent[i] * tangent[j] * (product(i, j) / norm[i] / norm[j]); }
      }
    }
    let angle = sqrt(max(square, 0.0));
    if (angle < tolerance) { break; }
    for (var i = 0u; i < N; i++) { mean[i] = cosine(angle) * mean[i] + sine(angle) * (tangent[i] / angle); }
    square = 0.0;
    for (var i = 0u; i < N; i++) {
      for (var j = 0u; j < N; j++) {
        if (share[i] > 0.0 && share[j] > 0.0) { square += mean[i] * mean[j] * (product(i, j) / norm[i] / norm[j]); }
      }
    }
    let unit = sqrt(max(square, 0.0));
    if (unit > tolerance) { for (var i = 0u; i < N; i++) { mean[i] /= unit; } }
  }
  for (var i = 0u; i < N; i++) { if (share[i] > 0.0) { f[i] = scale * mean[i] / norm[i]; } }
  give(&f);
}
