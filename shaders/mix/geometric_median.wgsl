// sd-mecha's geometric_median: Weiszfeld's steps among the base and the models, all in the span of the models' changes from the base.
// knobs: eps, most steps, ftol. The base is the point 0 of that span.
#include "mix/shared/spherical"
// Distance of point i (0 the base, 1 + j model j) from sum of f_j d_j.
fn distance_to(i: u32, f: ptr<function, array<f32, 8>>) -> f32 {
  var square = 0.0;
  for (var j = 0u; j < N; j++) {
    let u = (*f)[j] - select(0.0, 1.0, i == j + 1u);
    for (var k = 0u; k < N; k++) {
      let v = (*f)[k] - select(0.0, 1.0, i == k + 1u);
      square += u * v * product(j, k);
    }
  }
  return sqrt(max(square, 0.0));
}

fn solve() {
  var f: array<f32, 8>;
  for (var j = 0u; j < N; j++) { f[j] = 1.0 / f32(N + 1u); }
  var objective = 0.0;
  for (var i = 0u; i <= N; i++) { objective += distance_to(i, &f); }
  for (var step = 0u; step < u32(p.knobs.y); step++) {
    var near: array<f32, 9>;
    var sum = 0.0;
    for (var i = 0u; i <= N; i++) {
      near[i] = 1.0 / max(distance_to(i, &f), p.knobs.x);
      sum += near[i];
    }
    for (var j = 0u; j < N; j++) { f[j] = near[j + 1u] / sum; }
    let before = objective;
    objective = 0.0;
    for (var i = 0u; i <= N; i++) { objective += distance_to(i, &f); }
    // A gain below f32's resolution cannot be seen: such a tolerance means all steps.
    if (p.knobs.z > 1e-6 && abs(before - objective) <= p.knobs.z * objective) { break; }
  }
  give(&f);
}
