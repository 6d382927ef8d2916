// One look at every element: counts those beyond the bracket around each selection's threshold and collects those inside it.
// Mirrors gpu/mix/src/select/bracket.rs. SELECTS, TARGETS as in select_count.wgsl; LANES lanes with room for `knobs.y` (as bits) pairs each.
//
// Keys are the magnitude's bits, turned over (`edges.z`) where the smallest come first: beyond is always above. `edges`: lowest key inside less
// one, highest inside, what turns keys over. `found`: for every selection two words a lane (pairs collected, elements beyond), then the lanes'
// pairs (key, element number). A lane that finds more than it has room for counts on: its count tells.
// No atomics: software adapters carry them out lane by lane. WIDE: a pair is one store of 64 bits.
#include "mix/shared/flat"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read> edges: array<vec4<i32>>;
#if WIDE
@group(0) @binding(3u + ORIGIN + MODELS) var<storage, read_write> found: array<u64>;
fn give(at: u32, pair: vec2<u32>) { found[at] = u64(pair.x) | (u64(pair.y) << 32u); }
fn given(at: u32) -> vec2<u32> { let pair = found[at]; return vec2<u32>(u32(pair), u32(pair >> 32u)); }
#else
@group(0) @binding(3u + ORIGIN + MODELS) var<storage, read_write> found: array<vec2<u32>>;
fn give(at: u32, pair: vec2<u32>) { found[at] = pair; }
fn given(at: u32) -> vec2<u32> { return found[at]; }
#endif
#include "mix/shared/selection"

#for s SELECTS
var<private> beyond$s: vec4<u32>;
var<private> inside$s: u32;
var<private> low$s: i32;
var<private> high$s: i32;
var<private> turn$s: i32;
#end
var<private> pairs_at: u32;
var<private> room: u32;
// The element past the last.
var<private> end: u32;

// The key of every element. FREE 1: nothing is beyond the last element but padding that did not change, which no bracket holds.
fn keys(x: Fours, which: u32, turn: i32, e: vec4<u32>) -> vec4<i32> {
#if FREE
  return bitcast<vec4<i32>>(abs(selected(x, which)));
#else
  let magnitude = bitcast<vec4<i32>>(abs(selected(x, which))) ^ vec4<i32>(turn);
  // Below every edge where there is no element.
  return select(vec4<i32>(-2), magnitude, e < vec4<u32>(end));
#endif
}

fn mask(hit: vec4<bool>) -> u32 {
  return u32(hit.x) | (u32(hit.y) << 1u) | (u32(hit.z) << 2u) | (u32(hit.w) << 3u);
}

fn take_both(x: Fours, y: Fours, e: vec4<u32>) {
  var some = false;
#for s SELECTS
  let kx$s = keys(x, (TARGETS >> (4u * $su)) & 15u, turn$s, e);
  let ky$s = keys(y, (TARGETS >> (4u * $su)) & 15u, turn$s, e + vec4<u32>(4u));
  let ax$s = kx$s > vec4<i32>(high$s);
  let ay$s = ky$s > vec4<i32>(high$s);
  beyond$s += vec4<u32>(ax$s) + vec4<u32>(ay$s);
  let hx$s = (kx$s > vec4<i32>(low$s)) & !ax$s;
  let hy$s = (ky$s > vec4<i32>(low$s)) & !ay$s;
  some = some || any(hx$s | hy$s);
#end
  // Hits are rare. A loop that does not run is skipped, a branch would not be.
  for (; some; some = false) {
#for s SELECTS
    {
      var left = mask(hx$s) | (mask(hy$s) << 4u);
      for (; left != 0u; left &= left - 1u) {
        let c = firstTrailingBit(left);
        let k = select(kx$s, ky$s, c > 3u);
        let i = c & 3u;
        // Beyond its room a lane overwrites its last pair: the count gives it away.
        let key = select(select(k.x, k.y, i == 1u), select(k.z, k.w, i == 3u), i > 1u);
        give(pairs_at + $su * LANES * room + min(inside$s, room - 1u), vec2<u32>(bitcast<u32>(key), e.x + c));
        inside$s += 1u;
      }
    }
#end
  }
}

// Everything that the loop needs is read here: software adapters pay for every load, uniform or not.
// Later windows of the same tensor go on where the one before stopped.
fn begin(lane: u32) {
  room = bitcast<u32>(p.knobs.y);
  end = p.head.start + p.head.count;
  pairs_at = SELECTS * LANES + lane * room;
#for s SELECTS
  low$s = edges[$s].x;
  high$s = edges[$s].y;
  turn$s = edges[$s].z;
  {
    let before = select(vec2<u32>(0u), given($su * LANES + lane), p.head.row_groups == 1u);
    inside$s = before.x;
    beyond$s = vec4<u32>(before.y, 0u, 0u, 0u);
  }
#end
}

fn idle() -> bool { return false; }

fn finish(lane: u32) {
#for s SELECTS
  give($su * LANES + lane, vec2<u32>(inside$s, dot(beyond$s, vec4<u32>(1u))));
#end
}
#include "mix/shared/gather"
