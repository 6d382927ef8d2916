// Between two histograms of a selection. STEP 0 starts: state from the ranks wanted. STEP 1 sums 256 bins a lane. STEP 2, one lane a
// selection, walks to the bin that holds the rank wanted. Mirrors gpu/mix/src/select.rs.
//
// State, eight words a selection: 0 rank left to find (from 1), 1 upper bits or whole of the threshold, 2 elements equal to it,
// 3 upper digit of the last number taken, 4 settled, 5 last number taken among equals, 6 descending.
struct Params { selects: u32, phase: u32, descending: u32, pad: u32, rank: array<vec4<u32>, 4> }
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
  let down = p.phase < 2u && state[at + 6u] == 1u;
  var left = state[at];
  var c = 0u;
  for (; c < 255u; c++) {
    let n = coarse[s * 256u + select(c, 255u - c, down)];
    if (left <= n) { break; }
    left -= n;
  }
  let first = select(c, 255u - c, down) * 256u;
  var f = 0u;
  var here = 0u;
  for (; f < 256u; f++) {
    here = bins[s * 65536u + first + select(f, 255u - f, down)];
    if (left <= here || f == 255u) { break; }
    left -= here;
  }
  let bin = first + select(f, 255u - f, down);
  state[at] = left;
  if (p.phase == 0u) { state[at + 1u] = bin; }
  if (p.phase == 1u) {
    state[at + 1u] = (state[at + 1u] << 15u) | bin;
    state[at + 2u] = here;
    // All elements equal to the threshold are taken: no order among them is needed.
    if (left == here) { state[at + 4u] = 1u; }
  }
  if (p.phase == 2u) { state[at + 3u] = bin; }
  if (p.phase == 3u) { state[at + 5u] = (state[at + 3u] << 16u) | bin; state[at + 4u] = 1u; }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let lane = wg.x * 64u + local;
  if (STEP == 0u) {
    if (lane < p.selects) { start(lane); }
  } else if (STEP == 1u) {
    if (lane < p.selects * 256u) {
      var sum = 0u;
      for (var i = 0u; i < 256u; i++) { sum += bins[lane * 256u + i]; }
      coarse[lane] = sum;
    }
  } else if (STEP == 2u) {
    if (lane < p.selects) { walk(lane); }
  } else {
    // STEP 3 clears.
    if (lane < p.selects * 16384u) {
#for i 4
      bins[lane * 4u + $iu] = 0u;
#end
    }
  }
}
