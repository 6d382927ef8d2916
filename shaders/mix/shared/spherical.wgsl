// From inner products to the factors of a linear combination, in one lane. The including shader defines `fn solve()`, which reads
// products(i, j) and writes factors through give_*. Mirrors gpu/mix/src/methods/spherical.rs.
//
// N vectors. CHANGES 1: they are the models' changes from the origin; give(f) of them makes b + sum f_i (m_i - o). CHANGES 0: they are b and
// the models. ORIGIN 1: the origin is the last input of the linear pass. knobs: as the method says; weights: of the vectors.
struct Params { knobs: vec4<f32>, weights: array<vec4<f32>, 2> }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gram: array<f32>;
@group(0) @binding(2) var<storage, read_write> factors: array<f32>;

fn product(i: u32, j: u32) -> f32 {
  return gram[min(i, j) * N + max(i, j)];
}

fn weight(i: u32) -> f32 {
  return p.weights[i / 4u][i % 4u];
}

fn give(f: ptr<function, array<f32, 8>>) {
  if (CHANGES == 1u) {
    var sum = 0.0;
    for (var i = 0u; i < N; i++) {
      sum += (*f)[i];
      factors[1u + i] = (*f)[i];
    }
    if (ORIGIN == 1u) {
      factors[0] = 1.0;
      factors[1u + N] = -sum;
    } else {
      factors[0] = 1.0 - sum;
    }
  } else {
    for (var i = 0u; i < N; i++) { factors[i] = (*f)[i]; }
  }
}

@compute @workgroup_size(1)
fn main() {
  solve();
}
