// Loss and derivative of a logistic row in double arithmetic.

/// The loss of a row of margin m and σ(−m), both doubles.
fn double_logistic(m: vec2<f32>) -> vec4<f32> {
  let positive = m.x >= 0.0;
  let e = double_exp(select(m, -m, positive));
  let one = vec2<f32>(1.0, 0.0);
  let wrong = double_divide(select(one, e, positive), double_add(one, e));
  let loss = double_add(select(-m, vec2<f32>(), positive), double_log_one_plus(e));
  return vec4<f32>(loss, wrong);
}
