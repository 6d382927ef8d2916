// Histogram of one digit of the keys of up to eight selections (k-th magnitude by radix, then by element number among equal magnitudes).
// Mirrors gpu/mix/src/select.rs. PHASE 0: upper 16 bits of the magnitude's 31; 1: its lower 15; 2: upper digit of the element number;
// 3: its lower 16 bits. SELECTS selections; TARGETS four bits each: which model's change from `o` (15: VALUE of the including method).
#include "mix/shared/flat"
#include "mix/shared/selection"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> state: array<u32>;
@group(0) @binding(3u + ORIGIN + MODELS) var<storage, read_write> bins: array<atomic<u32>>;

fn count(s: u32, v: vec4<f32>, e: vec4<u32>) {
  let bits = bitcast<vec4<u32>>(abs(v));
  let threshold = state[s * 8u + 1u];
  let upper = state[s * 8u + 3u];
  let end = p.head.start + p.head.count;
#for c 4
  {
    let key = bits[$c];
    let number = e[$c];
    if (number < end) {
      if (PHASE == 0u) {
        atomicAdd(&bins[s * 65536u + (key >> 15u)], 1u);
      } else if (PHASE == 1u) {
        if ((key >> 15u) == threshold) { atomicAdd(&bins[s * 65536u + (key & 0x7fffu)], 1u); }
      } else if (PHASE == 2u) {
        if (key == threshold) { atomicAdd(&bins[s * 65536u + (number >> 16u)], 1u); }
      } else {
        if (key == threshold && (number >> 16u) == upper) { atomicAdd(&bins[s * 65536u + (number & 0xffffu)], 1u); }
      }
    }
  }
#end
}

fn take(x: Fours, e: vec4<u32>) {
#for s SELECTS
  // Settled selections (all, none, or no ties to resolve) count nothing.
  if (state[$s * 8u + 4u] == 0u) { count($su, selected(x, (TARGETS >> (4u * $su)) & 15u), e); }
#end
}

fn finish(lane: u32) {}
#include "mix/shared/gather"
