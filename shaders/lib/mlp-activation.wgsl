// The MLP's non-linearity, by number: 0 none, 1 gelu (exact), 2 gelu-tanh, 3 relu, 4 silu.

/// erf(|x|) within 2e-7 absolute. Below 0.9: |x|·P(x²), P of degree 5. Above: 1 − exp(Q(|x|)), Q of degree 6 fitted to
/// log erfc on [0.9, 4]. Both are minimax fits of this project (Lawson's iteration in float64; truncation 5e-9 and
/// 2e-9); the rest of the error is float32 rounding and that of exp.
fn erf_of_magnitude(u: f32) -> f32 {
  let z = u * u;
  var p = fma(-0.0005938383215633681, z, 0.004977800060083423);
  p = fma(p, z, -0.02675091814825799);
  p = fma(p, z, 0.11281134039738128);
  p = fma(p, z, -0.3761237470135646);
  p = fma(p, z, 1.1283790918708512);
  let t = min(u, 4.0);
  var q = fma(0.00019718162034094953, t, -0.0030556065745363345);
  q = fma(q, t, 0.02227708331123729);
  q = fma(q, t, -0.10403735208761823);
  q = fma(q, t, -0.6370597614020704);
  q = fma(q, t, -1.1277495577508614);
  q = fma(q, t, -0.00017749574918969743);
  return select(1.0 - exp(q), u * p, u < 0.9);
}

fn activated(x: f32, activation: u32) -> f32 {
  if (activation == 1u) {
    let e = erf_of_magnitude(abs(x) * 0.7071067811865476);
    let half = 0.5 * x;
    return fma(half, select(e, -e, x < 0.0), half);
  }
  if (activation == 2u) {
    // x/2·(1 + tanh a) = x − x/(exp(2a) + 1), a = √(2/π)·(x + 0.044715·x³); clamped, so that exp stays finite.
    let a = 1.5957691216057308 * fma(0.044715 * x * x, x, x);
    return x - x / (exp(clamp(a, -80.0, 80.0)) + 1.0);
  }
  if (activation == 3u) {
    return max(x, 0.0);
  }
  if (activation == 4u) {
    return x / (1.0 + exp(min(-x, 80.0)));
  }
  return x;
}
