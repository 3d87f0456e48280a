// Numbers of about 48 bits as unevaluated sums of two float32, high part first (Dekker, "A floating-point technique for
// extending the available precision", 1971).
//
// WGSL lets a compiler reassociate and fuse float operations, which would turn the error terms below into zeros. So every
// rounded result whose error is taken passes through `held`: an exclusive or of its bits with double_zero, a word that is
// zero in fact but that no compiler knows. Kernels set double_zero from a uniform before they call anything here. Products
// are taken of halves of 12 bits, cut off with a mask, so that each is exact and may be fused or not.

var<private> double_zero: u32;

fn held(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ double_zero);
}

/// a + b exactly, where |a| ≥ |b| or a = 0.
fn ordered_sum(a: f32, b: f32) -> vec2<f32> {
  let s = held(a + b);
  return vec2<f32>(s, b - held(s - a));
}

/// a + b exactly.
fn exact_sum(a: f32, b: f32) -> vec2<f32> {
  let swap = abs(a) < abs(b);
  return ordered_sum(select(a, b, swap), select(b, a, swap));
}

/// The leading 12 bits of x, and the rest.
fn halves(x: f32) -> vec2<f32> {
  let high = bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
  return vec2<f32>(high, x - high);
}

/// a·b exactly, but for what lies below 2⁻¹²⁶.
fn exact_product(a: f32, b: f32) -> vec2<f32> {
  let p = held(a * b);
  let u = halves(a);
  let v = halves(b);
  return vec2<f32>(p, held(held(held(u.x * v.x - p) + u.x * v.y) + u.y * v.x) + u.y * v.y);
}

fn double_add(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let s = exact_sum(a.x, b.x);
  return ordered_sum(s.x, s.y + (a.y + b.y));
}

/// a·b of a double and a float32.
fn double_scale(a: vec2<f32>, b: f32) -> vec2<f32> {
  let p = exact_product(a.x, b);
  return ordered_sum(p.x, p.y + a.y * b);
}

fn double_multiply(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let p = exact_product(a.x, b.x);
  return ordered_sum(p.x, p.y + (a.x * b.y + a.y * b.x));
}

fn double_divide(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let first = held(a.x / b.x);
  let rest = double_add(a, -double_scale(b, first));
  let second = held(rest.x / b.x);
  let last = double_add(rest, -double_scale(b, second));
  return double_add(ordered_sum(first, second), vec2<f32>(last.x / b.x, 0.0));
}

/// exp(t) for t ≤ 0; below −80, exp(−80). t = n·log 2 + r, |r| ≤ ½·log 2; Taylor's series of r, the terms from r⁷ on in
/// float32: together they are below 2⁻²² of the sum, so their rounding is below 2⁻⁴⁶.
fn double_exp(t: vec2<f32>) -> vec2<f32> {
  let clamped = select(t, vec2<f32>(-80.0, 0.0), t.x < -80.0);
  let n = round(clamped.x * 1.4426950408889634);
  // log 2 in three parts: the first two have 12 bits, so that their products with n are exact.
  var r = exact_sum(clamped.x, -n * 0.693115234375);
  r = double_add(r, exact_sum(clamped.y, -n * 3.193318843841553e-5));
  r = double_add(r, vec2<f32>(-n * 1.2996506981721723e-8, 0.0));
  var tail = fma(r.x, 2.08767559e-9, 2.50521084e-8);
  tail = fma(r.x, tail, 2.75573199e-7);
  tail = fma(r.x, tail, 2.75573192e-6);
  tail = fma(r.x, tail, 2.48015876e-5);
  tail = fma(r.x, tail, 1.98412701e-4);
  // 1/6!, 1/5! … 1/0! as doubles.
  var p = double_add(vec2<f32>(0.0013888889225199819, -3.3631094437103215e-11), exact_product(r.x, tail));
  p = double_add(double_multiply(p, r), vec2<f32>(0.008333333767950535, -4.34617203337595e-10));
  p = double_add(double_multiply(p, r), vec2<f32>(0.0416666679084301, -1.2417634698280722e-9));
  p = double_add(double_multiply(p, r), vec2<f32>(0.1666666716337204, -4.967053879312289e-9));
  p = double_add(double_multiply(p, r), vec2<f32>(0.5, 0.0));
  p = double_add(double_multiply(p, r), vec2<f32>(1.0, 0.0));
  p = double_add(double_multiply(p, r), vec2<f32>(1.0, 0.0));
  // n ≥ −116: a normal number.
  return p * bitcast<f32>(u32(i32(n) + 127) << 23u);
}

/// log(1 + e) for e in (0, 1], to about 2⁻⁴⁶ absolute and, for small e, 2⁻⁴⁰ of itself.
fn double_log_one_plus(e: vec2<f32>) -> vec2<f32> {
  if (e.x < 1.52587890625e-5) {
    return double_add(e, vec2<f32>(e.x * e.x * fma(e.x, 0.33333333, -0.5), 0.0));
  }
  // A float32 logarithm, off by δ, and a step that makes up for it: log(1 + e) = l + log((1 + e)·exp(−l)) with the
  // latter's series for 1 + δ.
  let guess = log_one_plus(e.x);
  let whole = double_add(vec2<f32>(1.0, 0.0), e);
  let off = double_add(double_multiply(whole, double_exp(vec2<f32>(-guess, 0.0))), vec2<f32>(-1.0, 0.0));
  return double_add(vec2<f32>(guess, 0.0), double_add(off, vec2<f32>(-0.5 * off.x * off.x, 0.0)));
}
