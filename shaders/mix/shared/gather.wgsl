// A walk over whole tensors that collects something. The including shader defines `fn take(x: Fours, e: vec4<u32>)`, called for every four
// elements (numbers beyond `p.head.count` are padding), `fn idle() -> bool`, true where there is nothing to do, and `fn finish(lane: u32)`,
// called once a lane. Define: LANES lanes in all. BOTH 1: `fn take_both(x: Fours, y: Fours, e: vec4<u32>)` instead, for eight elements at once.
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let lane = wg.x * WG + local;
#if BEGIN
  begin(lane);
#endif
  // A loop over nothing is the one way in which software adapters skip work.
  let groups = select(p.head.groups, 0u, idle());
#if SAMPLE
  let skip = bitcast<u32>(p.knobs.x);
  for (var i = lane; i < groups / skip; i += LANES) {
    // Not at every skip-th group: a stride that divides a row would see a few columns only.
    let g = i * skip + ((i * 0x9E3779B1u) >> 8u) % skip;
#else
  // A workgroup walks over one stretch of memory: lanes that jump through all of it miss every cache and page table on software adapters.
  let stretch = (groups + LANES - 1u) / LANES * WG;
  let stop = min((wg.x + 1u) * stretch, groups);
  for (var g = wg.x * stretch + local; g < stop; g += WG) {
#endif
    let b = load_b(g);
#if ORIGIN
    let o = load_o(g);
#else
    let o = b;
#endif
#for i MODELS
    let m$i = load_m$i(g);
#end
    let e = numbers(g);
    let x = Fours(b.a, o.a,
#for i MODELS
      m$i.a,
#end
    );
    let y = Fours(b.b, o.b,
#for i MODELS
      m$i.b,
#end
    );
#if BOTH
    take_both(x, y, e);
#else
    take(x, e);
    take(y, e + vec4<u32>(4u));
#endif
  }
  finish(lane);
}
