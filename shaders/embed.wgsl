// Token and position embedding: y[r] = table[token[r]] + position[r mod length]. F16: the table holds f16 pairs. Mirrors kernels/embed.rs.
// A table too large for one binding comes in pieces: each call writes the rows whose token lies in its piece [first, first + count).
struct Params { rows: u32, length: u32, ld4: u32, vocabulary: u32, total: u32, row_groups: u32, first: u32, count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
#if W_F16
@group(0) @binding(2) var<storage, read> table: array<vec2<u32>>;
fn lookup(i: u32) -> vec4<f32> { let w = table[i]; return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }
#else
@group(0) @binding(2) var<storage, read> table: array<vec4<f32>>;
fn lookup(i: u32) -> vec4<f32> { return table[i]; }
#endif
@group(0) @binding(3) var<storage, read> position: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
  let row = at / p.ld4;
  let col = at - row * p.ld4;
  let token = min(tokens[row], p.vocabulary - 1u);
  if (token < p.first || token - p.first >= p.count) { return; }
  y[at] = lookup((token - p.first) * p.ld4 + col) + position[row % p.length * p.ld4 + col];
}
