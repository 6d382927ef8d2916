// All inner products of the vectors: the models' changes from `o` (CHANGES 1), or b, m0, m1, .. themselves (CHANGES 0).
// VECTORS of them. Each lane leaves its part in sums[(i * VECTORS + j) * LANES + lane] for i <= j. Mirrors gpu/mix/src/sums.rs.
#include "mix/shared/flat"
@group(0) @binding(2u + ORIGIN + MODELS) var<storage, read_write> sums: array<f32>;
struct Vectors {
#for i VECTORS
  v$i: vec4<f32>,
#end
}
#for i VECTORS
#for j VECTORS
var<private> acc$i_$j: vec4<f32>;
#end
#end

fn take(x: Fours, e: vec4<u32>) {
  let live = e < vec4<u32>(p.head.start + p.head.count);
  let zero = vec4<f32>(0.0);
  let v = Vectors(
#if CHANGES
#else
    select(zero, x.b, live),
#endif
#for i MODELS
#if CHANGES
    select(zero, x.m$i - x.o, live),
#else
    select(zero, x.m$i, live),
#endif
#end
  );
#for i VECTORS
#for j VECTORS
  if ($iu <= $ju) { acc$i_$j += v.v$i * v.v$j; }
#end
#end
}

fn idle() -> bool { return false; }

fn finish(lane: u32) {
#for i VECTORS
#for j VECTORS
  if ($iu <= $ju) {
    let at = ($iu * VECTORS + $ju) * LANES + lane;
    var sum = (acc$i_$j.x + acc$i_$j.y) + (acc$i_$j.z + acc$i_$j.w);
    // Windows after the first add to what the earlier ones left.
    if (p.head.row_groups == 1u) { sum += sums[at]; }
    sums[at] = sum;
  }
#end
#end
}
#include "mix/shared/gather"
