// How much attention each key gets: the softmax weights of self-attention summed over queries, averaged over heads. First (STATS) the largest score
// and the sum of every query, then one thread a (sample, key). Mirrors kernels/attention_mass.rs.
struct Params { tokens: u32, heads: u32, d: u32, ld: u32, q_at: u32, k_at: u32, scale: f32, total: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
#if STATS
@group(0) @binding(2) var<storage, read_write> stats: array<vec2<f32>>;
#else
@group(0) @binding(2) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> mass: array<f32>;
#endif

fn score(sample: u32, head: u32, query: u32, key: u32) -> f32 {
  let q = (sample * p.tokens + query) * p.ld + p.q_at + head * p.d;
  let k = (sample * p.tokens + key) * p.ld + p.k_at + head * p.d;
  var sum = 0.0;
  for (var e = 0u; e < p.d; e++) { sum += x[q + e] * x[k + e]; }
  return sum * p.scale;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = wg.x * 64u + lane;
  if (at >= p.total) { return; }
#if STATS
  let sample = at / (p.heads * p.tokens);
  let head = at / p.tokens - sample * p.heads;
  let query = at % p.tokens;
  var top = -3.4e38;
  for (var key = 0u; key < p.tokens; key++) { top = max(top, score(sample, head, query, key)); }
  var sum = 0.0;
  for (var key = 0u; key < p.tokens; key++) { sum += exp(score(sample, head, query, key) - top); }
  stats[at] = vec2<f32>(top, sum);
#else
  let sample = at / p.tokens;
  let key = at - sample * p.tokens;
  var sum = 0.0;
  for (var head = 0u; head < p.heads; head++) {
    for (var query = 0u; query < p.tokens; query++) {
      let s = stats[(sample * p.heads + head) * p.tokens + query];
      sum += exp(score(sample, head, query, key) - s.x) / s.y;
    }
  }
  // One number a row, rows four wide.
  mass[at * 4u] = sum / f32(p.heads);
#endif
}
