// Loss and derivative of logistic rows in double arithmetic. The logarithms of a sum of losses are taken together:
//
//   Σ log(1 + exp(−m_i)) = Σ (max(−m_i, 0) + small e_i) + log Π (1 + e_i),   e_i = exp(−|m_i|)
//
// A logarithm costs as much as all the rest of a row, and a product of two doubles a twentieth of it.

// Below this, log(1 + e) comes from its series, which keeps the digits of a small loss.
const SMALL: f32 = 1.52587890625e-5;
// A product beyond this gives up its exponent.
const LARGE: f32 = 1152921504606846976.0;
const LARGE_EXPONENT: f32 = 60.0;

// Losses of rows, added up.
struct LossSum {
  plain: vec2<f32>,
  product: vec2<f32>,
  // Of the product: powers of two that it has given up.
  exponent: f32,
}

// σ(−m) of a row, and what its loss needs.
struct RowTerms {
  wrong: vec2<f32>,
  plain: vec2<f32>,
  product: vec2<f32>,
}

fn no_loss() -> LossSum {
  return LossSum(vec2<f32>(), vec2<f32>(1.0, 0.0), 0.0);
}

fn row_of_margin(m: vec2<f32>) -> RowTerms {
  let positive = m.x >= 0.0;
  let e = double_exp(select(m, -m, positive));
  let one = vec2<f32>(1.0, 0.0);
  let whole = double_add(one, e);
  let small = e.x < SMALL;
  let series = double_add(e, vec2<f32>(e.x * e.x * fma(e.x, 0.33333333, -0.5), 0.0));
  return RowTerms(
    double_divide(select(one, e, positive), whole),
    double_add(select(-m, vec2<f32>(), positive), select(vec2<f32>(), series, small)),
    select(whole, one, small),
  );
}

fn with_loss(sum: LossSum, row: RowTerms) -> LossSum {
  let product = double_multiply(sum.product, row.product);
  let large = product.x >= LARGE;
  return LossSum(
    double_add(sum.plain, row.plain),
    select(product, product / LARGE, large),
    sum.exponent + select(0.0, LARGE_EXPONENT, large),
  );
}

/// The sum as a double.
fn total_loss(sum: LossSum) -> vec2<f32> {
  // The product lies in [1, 2⁶⁰): bring it to [1, 2).
  let power = (bitcast<u32>(sum.product.x) >> 23u) - 127u;
  let scaled = sum.product * bitcast<f32>((127u - power) << 23u);
  let rest = double_log_one_plus(double_add(scaled, vec2<f32>(-1.0, 0.0)));
  let exponents = double_scale(vec2<f32>(0.6931471824645996, -1.9046542121259336e-9), sum.exponent + f32(power));
  return double_add(sum.plain, double_add(rest, exponents));
}
