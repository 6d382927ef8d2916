// Random numbers as a function of (seed, stream, element number): the same on every device, in any order. Mirrors gpu/mix/src/random.rs.
// PCG3D of Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 9(3), 2020.
fn random_bits(seed: u32, stream: u32, number: vec4<u32>) -> vec4<u32> {
  var x = number * 1664525u + 1013904223u;
  var y = vec4<u32>(seed * 1664525u + 1013904223u);
  var z = vec4<u32>(stream * 1664525u + 1013904223u);
  x += y * z;
  y += z * x;
  z += x * y;
  x ^= x >> vec4<u32>(16u);
  y ^= y >> vec4<u32>(16u);
  z ^= z >> vec4<u32>(16u);
  x += y * z;
  y += z * x;
  z += x * y;
  return x;
}

// Uniform in [0, 1): multiples of 2^-24, exact in f32.
fn random_four(seed: u32, stream: u32, number: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(random_bits(seed, stream, number) >> vec4<u32>(8u)) * 5.9604644775390625e-8;
}
