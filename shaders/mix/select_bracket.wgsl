// Between the looks of a bracketed selection, one lane a selection. Mirrors gpu/mix/src/select/bracket.rs.
// STEP 0, after a sample's histogram (65,536 bins of the keys' top 16 bits, summed by 256 in `coarse`): a bracket of keys that holds the
// element of the wanted rank but for bad luck. STEP 1, after the collection: the rank left inside it, or failure; it also empties the BINS bins
// a selection that the collected keys are counted in. STEP 2: the result into `state`, unless it failed; then the full search, which skips
// settled selections, does the work.
//
// `inner` and `state` as in select_step.wgsl, `inner` over keys counted from the bracket's lower end, always descending; its word 7 is 1 after a
// failure. `edges` as in select_compact.wgsl. ZEROS 0: which of several unchanged elements are taken
// does not matter, so that a threshold of 0 needs no search.
struct Params { selects: u32, len: u32, room: u32, pad: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> inner: array<u32>;
@group(0) @binding(3) var<storage, read_write> edges: array<vec4<i32>>;
@group(0) @binding(4) var<storage, read_write> found: array<u32>;
@group(0) @binding(5) var<storage, read_write> bins: array<u32>;
@group(0) @binding(6) var<storage, read_write> coarse: array<u32>;

// The bin that holds the sample's element number `rank` (from 1), counted from the top or from the bottom.
fn bin_of(s: u32, rank: u32, down: bool) -> u32 {
  var left = rank;
  var c = 0u;
  for (; c < 255u; c++) {
    let n = coarse[s * 256u + select(c, 255u - c, down)];
    if (left <= n) { break; }
    left -= n;
  }
  let first = select(c, 255u - c, down) * 256u;
  var f = 0u;
  for (; f < 255u; f++) {
    let n = bins[s * 65536u + first + select(f, 255u - f, down)];
    if (left <= n) { break; }
    left -= n;
  }
  return first + select(f, 255u - f, down);
}

fn bracket(s: u32) {
  let at = s * 8u;
  let down = state[at + 6u] == 1u;
  // Beyond every key for what is settled already: nothing is collected.
  edges[s] = vec4<i32>(0x7fffffff, 0x7fffffff, 0, 0);
  if (state[at + 4u] != 0u) { return; }
  var seen = 0u;
  for (var c = 0u; c < 256u; c++) { seen += coarse[s * 256u + c]; }
  let share = f32(state[at]) / f32(p.len);
  let middle = share * f32(seen);
  // Three and a half standard deviations: one draw in 2,000 lies beyond them and costs a full search, while every element inside costs always.
  let margin = 3.5 * sqrt(f32(seen) * share * (1.0 - share)) + 16.0;
  let near = bin_of(s, u32(max(middle - margin, 1.0)), down);
  let far = bin_of(s, u32(min(middle + margin, f32(seen))), down);
  var low = min(near, far) << 15u;
  var high = (max(near, far) << 15u) | 0x7fffu;
  // The sample says nothing of what lies beyond its own ends.
  if (middle - margin < 1.0) { if (down) { high = 0x7fffffffu; } else { low = 0u; } }
  if (middle + margin > f32(seen)) { if (down) { low = 0u; } else { high = 0x7fffffffu; } }
  // Where zeros do not matter they stay out of the bracket.
  if (ZEROS == 0u) { low = max(low, 1u); }
  let turn = select(0x7fffffffu, 0u, down);
  edges[s] = vec4<i32>(i32(select(high, low, down) ^ turn) - 1, i32(select(low, high, down) ^ turn), i32(turn), 0);
}

fn begin(s: u32) {
  let at = s * 8u;
  for (var i = 0u; i < 8u; i++) { inner[at + i] = state[at + i]; }
  inner[at + 6u] = 1u;
  inner[at + 7u] = 0u;
  if (state[at + 4u] != 0u) { return; }
  var number = 0u;
  var beyond = 0u;
  var fits = true;
  for (var lane = 0u; lane < LANES; lane++) {
    let here = found[2u * (s * LANES + lane)];
    number += here;
    beyond += found[2u * (s * LANES + lane) + 1u];
    fits = fits && here <= p.room;
  }
  let rank = state[at];
  if (fits && rank > beyond && rank - beyond <= number) {
    inner[at] = rank - beyond;
    return;
  }
  inner[at + 4u] = 1u;
  // The threshold is 0: fewer elements changed than are wanted, or, smallest first, fewer are wanted than did not change.
  let down = state[at + 6u] == 1u;
  let among_zeros = select(rank <= beyond && edges[s].y == 0x7ffffffe, rank > beyond && edges[s].x == 0, down);
  if (ZEROS == 0u && fits && among_zeros) {
    // As a key counted from the lower end.
    inner[at + 1u] = (bitcast<u32>(edges[s].z) - u32(edges[s].x + 1));
    inner[at + 5u] = 0xffffffffu;
    return;
  }
  inner[at + 7u] = 1u;
}

fn settle(s: u32) {
  let at = s * 8u;
  if (state[at + 4u] != 0u || inner[at + 7u] != 0u) { return; }
  let key = inner[at + 1u] + u32(edges[s].x + 1);
  state[at + 1u] = key ^ bitcast<u32>(edges[s].z);
  state[at + 4u] = 1u;
  state[at + 5u] = inner[at + 5u];
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) s: u32) {
  if (STEP == 1u) {
    for (var i = s; i < p.selects * BINS; i += 64u) { bins[i] = 0u; }
  }
  if (s >= p.selects) { return; }
  if (STEP == 0u) { bracket(s); } else if (STEP == 1u) { begin(s); } else { settle(s); }
}
