// Histogram of one digit of the keys of up to eight selections (k-th magnitude by radix, then by element number among equal magnitudes).
// Mirrors gpu/mix/src/select/mod.rs. NUMBER 0: digits of the magnitude's 31 bits; 1: of the element number. The digit has BITS bits above SHIFT;
// FIRST 1: nothing lies above it. BINS bins a selection. SELECTS selections; TARGETS four bits each: which model's change from `o`.
#include "mix/shared/flat"
#include "mix/shared/selection"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> state: array<u32>;
@group(0) @binding(3u + ORIGIN + MODELS) var<storage, read_write> bins: array<atomic<u32>>;

fn count(s: u32, v: vec4<f32>, e: vec4<u32>) {
  let key = bitcast<vec4<u32>>(abs(v));
  let live = e < vec4<u32>(p.head.start + p.head.count);
  let row = s * BINS;
#if FIRST
#for c 4
  // Padding adds nothing: cheaper than a branch where branches are masks.
  atomicAdd(&bins[row + (key[$c] >> SHIFT)], select(0u, 1u, live[$c]));
#end
#else
  let above = vec4<u32>(SHIFT + BITS);
  let threshold = vec4<u32>(state[s * 8u + 1u]);
  let mask = vec4<u32>((1u << BITS) - 1u);
#if NUMBER
  let digit = (e >> vec4<u32>(SHIFT)) & mask;
  let hit = live & (key == threshold) & ((e >> above) == vec4<u32>(state[s * 8u + 3u]));
#else
  let digit = (key >> vec4<u32>(SHIFT)) & mask;
  let hit = live & ((key >> above) == threshold);
#endif
  // Hits are rare: a loop over them is skipped where there are none, a branch would not be.
  var left = u32(hit.x) | (u32(hit.y) << 1u) | (u32(hit.z) << 2u) | (u32(hit.w) << 3u);
  for (; left != 0u; left &= left - 1u) {
    let c = firstTrailingBit(left);
    let d = select(select(digit.x, digit.y, c == 1u), select(digit.z, digit.w, c == 3u), c > 1u);
    atomicAdd(&bins[row + d], 1u);
  }
#endif
}

fn take(x: Fours, e: vec4<u32>) {
#for s SELECTS
  // Settled selections (all, none, or no ties to resolve) count nothing.
  if (state[$s * 8u + 4u] == 0u) { count($su, selected(x, (TARGETS >> (4u * $su)) & 15u), e); }
#end
}

fn idle() -> bool {
  var settled = true;
#for s SELECTS
  settled = settled && state[$s * 8u + 4u] != 0u;
#end
  return settled;
}

fn finish(lane: u32) {}
#include "mix/shared/gather"
