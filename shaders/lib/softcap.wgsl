// A soft limit of scores and logits.

/// cap·tanh(x/cap), with tanh a = 1 − 2/(exp(2a) + 1), or below ¼, where that loses digits, its Taylor series to a⁹.
fn capped(x: f32, cap: f32) -> f32 {
  let a = abs(x) / cap;
  let far = 1.0 - 2.0 / (exp(min(2.0 * a, 80.0)) + 1.0);
  let z = a * a;
  var p = fma(0.021869488536155203, z, -0.05396825396825397);
  p = fma(p, z, 0.13333333333333333);
  p = fma(p, z, -0.3333333333333333);
  let near = fma(a * z, p, a);
  let magnitude = cap * select(far, near, a < 0.25);
  return select(magnitude, -magnitude, x < 0.0);
}
