// The values that selections rank, and whether an element is among those selected.

// VALUE 0: the change of a model from `o`. VALUE 1: variance over the models' changes. VALUE 2: the base itself.
fn selected(x: Fours, which: u32) -> vec4<f32> {
#if VARIANCE
  var mean = vec4<f32>(0.0);
#for i MODELS
  mean += x.m$i - x.o;
#end
  mean *= 1.0 / f32(MODELS);
  var v = vec4<f32>(0.0);
#for i MODELS
  { let d = (x.m$i - x.o) - mean; v += d * d; }
#end
  return v * (1.0 / f32(MODELS));
#else
  switch (which) {
#for i MODELS
    case $iu: { return x.m$i - x.o; }
#end
    default: { return x.b; }
  }
#endif
}
