// Twelve independent chains of multiply-adds a lane, in registers: the device's own arithmetic limit. Twelve keep two 4-cycle units busy and fit
// sixteen registers. One number a lane is stored, so that nothing is optimised away. Mirrors gpu/engine/src/bench.rs.
struct Params { rounds: u32, factor: f32, addend: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let m = vec4<f32>(p.factor);
  let b = vec4<f32>(p.addend);
  var x = vec4<f32>(f32(id.x));
  var y = x + 1.0;
  var z = x + 2.0;
  for (var i = 0u; i < p.rounds; i++) {
    #for k 8
    x = fma(x, m, b);
    y = fma(y, m, b);
    z = fma(z, m, b);
    #end
  }
  let s = x + y + z;
  dst[id.x] = s.x + s.y + s.z + s.w;
}
