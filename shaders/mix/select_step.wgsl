// The beginning of selections, in lanes that each do a part. STEP 0: state from the ranks wanted, and empty bins. STEP 1: empty bins. STEP 2: sums of 256
// bins. BINS bins a selection. What comes after every histogram is in select_walk.wgsl. Mirrors gpu/mix/src/select/mod.rs.
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let lane = wg.x * 64u + local;
  if (STEP == 0u && lane < p.selects) { start(lane); }
  if (STEP == 2u) {
    if (lane < p.selects * (BINS / 256u)) {
      var sum = 0u;
      for (var i = 0u; i < 256u; i++) { sum += bins[lane * 256u + i]; }
      coarse[lane] = sum;
    }
  } else if (lane < p.selects * (BINS / 4u)) {
#for i 4
    bins[lane * 4u + $iu] = 0u;
#end
  }
}
