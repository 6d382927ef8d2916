// sd-mecha's perpendicular_component: factors of b' - a' <a', b'> / |a'|^2, a' and b' the changes of the base and of the model. The vectors are
// the changes of [base, model] from what they are compared with. knobs: weight. factors: of the change of the base, of the model.
#include "mix/shared/spherical"
fn solve() {
  let square = product(0u, 0u);
  let along = select(product(0u, 1u) / square, 0.0, square == 0.0);
  // Without a change of the base there is no direction to be perpendicular to: nothing is added.
  let w = select(p.knobs.x, 0.0, square == 0.0);
  factors[0] = -w * along;
  factors[1] = w;
}
