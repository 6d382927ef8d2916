// Between two histograms of a selection. STEP 0 starts: state from the ranks wanted. STEP 1 sums 256 bins a lane. STEP 2, one lane a
// selection, walks to the bin that holds the rank wanted. STEP 3 clears. BINS bins a selection, of a digit of BITS bits; NUMBER 1: of the
// element number; LAST 1: the lowest digit. Mirrors gpu/mix/src/select.rs.
//
// State, eight words a selection: 0 rank left to find (from 1), 1 the threshold's digits so far, 2 elements equal to it,
// 3 digits so far of the last number taken, 4 settled, 5 last number taken among equals, 6 descending.
struct Params { selects: u32, descending: u32, pad0: u32, pad1: u32, rank: array<vec4<u32>, 4> }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> bins: array<u32>;
@group(0) @binding(3) var<storage, read_write> coarse: array<u32>;

fn start(s: u32) {
  let rank = p.rank[s / 4u][s % 4u];
  let at = s * 8u;
  let down = (p.descending >> s) & 1u;
  state[at] = rank;
  state[at + 1u] = 0u;
  state[at + 2u] = 0u;
  state[at + 3u] = 0u;
  state[at + 4u] = 0u;
  state[at + 5u] = 0xffffffffu;
  state[at + 6u] = down;
  // Rank 0 takes nothing, rank 2^32 - 1 everything.
  if (rank == 0u) { state[at + 4u] = 1u; state[at + 1u] = select(0u, 0xffffffffu, down == 1u); state[at + 5u] = 0u; }
  if (rank == 0xffffffffu) { state[at + 4u] = 1u; state[at + 1u] = select(0xffffffffu, 0u, down == 1u); }
}

fn walk(s: u32) {
  let at = s * 8u;
  if (state[at + 4u] != 0u) { return; }
  // Magnitudes fall or rise as the selection wants; element numbers always rise.
  let down = NUMBER == 0u && state[at + 6u] == 1u;
  var left = state[at];
  var c = 0u;
  let blocks = BINS / 256u;
  for (; c < blocks - 1u; c++) {
    let n = coarse[s * blocks + select(c, blocks - 1u - c, down)];
    if (left <= n) { break; }
    left -= n;
  }
  let first = select(c, blocks - 1u - c, down) * 256u;
  var f = 0u;
  var here = 0u;
  for (; f < 256u; f++) {
    here = bins[s * BINS + first + select(f, 255u - f, down)];
    if (left <= here || f == 255u) { break; }
    left -= here;
  }
  let bin = first + select(f, 255u - f, down);
  state[at] = left;
  if (NUMBER == 0u) {
    state[at + 1u] = (state[at + 1u] << BITS) | bin;
    state[at + 2u] = here;
    // All elements equal to the threshold are taken: no order among them is needed.
    if (LAST == 1u && left == here) { state[at + 4u] = 1u; }
  } else {
    state[at + 3u] = (state[at + 3u] << BITS) | bin;
    if (LAST == 1u) { state[at + 5u] = state[at + 3u]; state[at + 4u] = 1u; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let lane = wg.x * 64u + local;
  if (STEP == 0u) {
    if (lane < p.selects) { start(lane); }
  } else if (STEP == 1u) {
    if (lane < p.selects * (BINS / 256u)) {
      var sum = 0u;
      for (var i = 0u; i < 256u; i++) { sum += bins[lane * 256u + i]; }
      coarse[lane] = sum;
    }
  } else if (STEP == 2u) {
    if (lane < p.selects) { walk(lane); }
  } else {
    if (lane < p.selects * (BINS / 4u)) {
#for i 4
      bins[lane * 4u + $iu] = 0u;
#end
    }
  }
}
