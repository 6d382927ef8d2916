// After a histogram of a selection's digit: to the bin that holds the rank wanted; the bins are empty afterwards, for the next digit. One workgroup a
// selection. BINS bins, of a digit of BITS bits; NUMBER 1: of the element number; LAST 1: the lowest digit. `state` as in select_step.wgsl.
// Mirrors gpu/mix/src/select/mod.rs.
struct Params { pad0: u32, pad1: u32, pad2: u32, pad3: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> bins: array<u32>;

// Sums of stretches of bins, one a lane.
var<workgroup> sums: array<u32, WG>;
const EACH: u32 = BINS / WG;

fn walk(s: u32) {
  let at = s * 8u;
  // Magnitudes fall or rise as the selection wants; element numbers always rise.
  let down = NUMBER == 0u && state[at + 6u] == 1u;
  var left = state[at];
  var c = 0u;
  for (; c < WG - 1u; c++) {
    let n = sums[select(c, WG - 1u - c, down)];
    if (left <= n) { break; }
    left -= n;
  }
  let first = select(c, WG - 1u - c, down) * EACH;
  var f = 0u;
  var here = 0u;
  for (; f < EACH; f++) {
    here = bins[s * BINS + first + select(f, EACH - 1u - f, down)];
    if (left <= here || f == EACH - 1u) { break; }
    left -= here;
  }
  let bin = first + select(f, EACH - 1u - f, down);
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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let s = wg.x;
  // Settled selections counted nothing: their bins are empty.
  let open = state[s * 8u + 4u] == 0u;
  let each = select(0u, EACH, open);
  let first = s * BINS + lane * EACH;
  var sum = 0u;
  for (var i = 0u; i < each; i++) { sum += bins[first + i]; }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane == 0u && open) { walk(s); }
  storageBarrier();
  for (var i = 0u; i < each; i++) { bins[first + i] = 0u; }
}
