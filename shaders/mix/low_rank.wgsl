// y = b + up @ down: any number of low-rank adapters with their factors side by side, scales already in `up`. Mirrors gpu/mix/src/low_rank.rs.
//
// b, y: [rows, width] flat. up: transposed, [rank][rows / 4] vec4. down: [rank][width]. ALIGNED: width is a multiple of 8; a lane then has a
// tile of four rows and eight columns. Otherwise it has eight elements in a row of memory, each with its own row and column.
// knobs (as bits): rows, width, rank, rows / 4 rounded up.
#include "mix/shared/flat"
#if ALIGNED
@group(0) @binding(2) var<storage, read> up: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> down: array<vec4<f32>>;
#else
@group(0) @binding(2) var<storage, read> up: array<f32>;
@group(0) @binding(3) var<storage, read> down: array<f32>;
#endif
#include "mix/shared/store"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let rows = bitcast<u32>(p.knobs.x);
  let width = bitcast<u32>(p.knobs.y);
  let rank = bitcast<u32>(p.knobs.z);
  let tiles = bitcast<u32>(p.knobs.w);
  let at = (wg.y * p.head.row_groups + wg.x) * WG + lane;
#if ALIGNED
  let columns = width / 8u;
  if (at >= tiles * columns) { return; }
  let tile = at / columns;
  let column = at - tile * columns;
#for i 4
  var a$i = vec4<f32>(0.0);
  var c$i = vec4<f32>(0.0);
#end
  for (var r = 0u; r < rank; r++) {
    let u = up[r * tiles + tile];
    let d = down[(r * columns + column) * 2u];
    let f = down[(r * columns + column) * 2u + 1u];
    a0 += u.x * d;
    c0 += u.x * f;
    a1 += u.y * d;
    c1 += u.y * f;
    a2 += u.z * d;
    c2 += u.z * f;
    a3 += u.w * d;
    c3 += u.w * f;
  }
#for i 4
  {
    let row = tile * 4u + $iu;
    if (row < rows) {
      let b = load_b(row * columns + column);
      store(row * columns + column, Eight(b.a + a$i, b.b + c$i));
    }
  }
#end
#else
  if (at >= p.head.groups) { return; }
  let b = load_b(at);
  var sums: Eight;
#for i 4
  sums.a[$i] = delta(at * 8u + $iu, rows, width, rank, tiles);
  sums.b[$i] = delta(at * 8u + 4u + $iu, rows, width, rank, tiles);
#end
  store(at, Eight(b.a + sums.a, b.b + sums.b));
#endif
}
#if ALIGNED
#else

fn delta(e: u32, rows: u32, width: u32, rank: u32, tiles: u32) -> f32 {
  // Padding after the last element takes the last row's change; nobody reads it.
  let row = min(e / width, rows - 1u);
  let column = min(e - row * width, width - 1u);
  var sum = 0.0;
  for (var r = 0u; r < rank; r++) { sum += up[r * tiles * 4u + row] * down[r * width + column]; }
  return sum;
}
#endif
