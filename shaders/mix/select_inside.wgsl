// Histogram of one digit of the collected keys, counted from the bracket's lower end (as select_count.wgsl, over `found` of select_compact.wgsl).
// Mirrors gpu/mix/src/select/bracket.rs. LANES lanes in all, each over its own pairs; NUMBER, BITS, SHIFT, BINS, SELECTS as in select_count.wgsl.
struct Params { room: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> found: array<u32>;
@group(0) @binding(2) var<storage, read> state: array<u32>;
@group(0) @binding(3) var<storage, read> edges: array<vec4<i32>>;
@group(0) @binding(4) var<storage, read_write> bins: array<atomic<u32>>;

fn count(s: u32, lane: u32) {
  let at = s * 8u;
  let all = min(found[2u * (s * LANES + lane)], p.room);
  let number = select(all, 0u, state[at + 4u] != 0u);
  let data = 2u * SELECTS * LANES + 2u * (s * LANES + lane) * p.room;
  let low = bitcast<u32>(edges[s].x) + 1u;
  // The top digit of nearly all: counted without atomics.
  var zeros = 0u;
  for (var i = 0u; i < number; i++) {
    let key = found[data + 2u * i] - low;
    let element = found[data + 2u * i + 1u];
    // Digits above the one looked at; a shift by all 31 bits leaves none.
    var hit = (SHIFT + BITS >= 31u) || ((key >> min(SHIFT + BITS, 31u)) == state[at + 1u]);
    var digit = (key >> SHIFT) & ((1u << BITS) - 1u);
    if (NUMBER == 1u) {
      hit = key == state[at + 1u] && ((SHIFT + BITS >= 31u) || ((element >> min(SHIFT + BITS, 31u)) == state[at + 3u]));
      digit = (element >> SHIFT) & ((1u << BITS) - 1u);
    }
    zeros += select(0u, 1u, hit && digit == 0u);
    if (hit && digit != 0u) { atomicAdd(&bins[s * BINS + digit], 1u); }
  }
  if (zeros != 0u) { atomicAdd(&bins[s * BINS], zeros); }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let lane = wg.x * WG + local;
#for s SELECTS
  count($su, lane);
#end
}
