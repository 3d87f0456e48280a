// The data pass of logistic_newton with at most eight parameters: a thread keeps the sums of its own rows in registers.

// Four vectors of half of the threads, five apart so that threads use different banks.
var<workgroup> scratch: array<vec4<f32>, 320>;

/// Adds up four vectors of every thread; the sums are in scratch[0 .. 4) then.
fn add_up(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, lane: u32) {
  let half = THREADS / 2u;
  let own = 5u * (lane % half);
  workgroupBarrier();
  if (lane >= half) {
    scratch[own] = a;
    scratch[own + 1u] = b;
    scratch[own + 2u] = c;
    scratch[own + 3u] = d;
  }
  workgroupBarrier();
  if (lane < half) {
    scratch[own] += a;
    scratch[own + 1u] += b;
    scratch[own + 2u] += c;
    scratch[own + 3u] += d;
  }
  workgroupBarrier();
  // Thread 4·s + v adds vector v of two places; then half as many threads add two sums, and so on.
  let place = 10u * (lane / 4u) + lane % 4u;
  let sum = scratch[place] + scratch[place + 5u];
  workgroupBarrier();
  scratch[lane] = sum;
  workgroupBarrier();
  for (var count = THREADS / 2u; count >= 4u; count /= 2u) {
    if (lane < count) {
      scratch[lane] += scratch[lane + count];
    }
    workgroupBarrier();
  }
}

/// Loss, gradient and Hessian of all rows at `point`.
fn data_pass(k: u32, first_label: u32, lane: u32) {
  var loss = 0.0;
  var g0 = vec4<f32>();
  var g1 = vec4<f32>();
  var a0 = vec4<f32>();
  var a1 = vec4<f32>();
  var a2 = vec4<f32>();
  var a3 = vec4<f32>();
  var b0 = vec4<f32>();
  var b1 = vec4<f32>();
  var b2 = vec4<f32>();
  var b3 = vec4<f32>();
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  let t0 = point[0];
  let t1 = point[vectors - 1u];
  for (var row = lane; row < params.rows; row += THREADS) {
    let label = label_in(labels[first_label + row / 4u], row);
    let x0 = design_vector(0u, k, row);
    var x1 = vec4<f32>();
    var z = dot(x0, t0);
    if (vectors > 1u) {
      x1 = design_vector(1u, k, row);
      z += dot(x1, t1);
    }
    let terms = row_terms(label, z);
    loss += terms.x;
    let h0 = terms.z * x0;
    g0 += terms.y * x0;
    a0 += h0.x * x0;
    a1 += h0.y * x0;
    a2 += h0.z * x0;
    a3 += h0.w * x0;
    if (vectors > 1u) {
      let h1 = terms.z * x1;
      g1 += terms.y * x1;
      b0 += h1.x * x0;
      b1 += h1.y * x0;
      b2 += h1.z * x0;
      b3 += h1.w * x0;
      c0 += h1.x * x1;
      c1 += h1.y * x1;
      c2 += h1.z * x1;
      c3 += h1.w * x1;
    }
  }
  let m = k + 1u;
  for (var part = 0u; part < select(2u, 4u, vectors > 1u); part++) {
    var p0 = g0;
    var p1 = g1;
    var p2 = vec4<f32>(loss);
    var p3 = vec4<f32>();
    if (part == 1u) {
      p0 = a0;
      p1 = a1;
      p2 = a2;
      p3 = a3;
    } else if (part == 2u) {
      p0 = b0;
      p1 = b1;
      p2 = b2;
      p3 = b3;
    } else if (part == 3u) {
      p0 = c0;
      p1 = c1;
      p2 = c2;
      p3 = c3;
    }
    add_up(p0, p1, p2, p3, lane);
    let total = scratch[(lane / 4u) & 3u][lane % 4u];
    if (part == 0u) {
      if (lane < m) {
        gradient[lane] = total;
      }
      if (lane == 8u) {
        loss_total = total;
      }
    } else if (lane < 16u) {
      // Blocks (0, 0), (1, 0) and (1, 1) of the lower triangle.
      let row = 4u * select(0u, 1u, part > 1u) + lane / 4u;
      let column = 4u * select(0u, 1u, part > 2u) + lane % 4u;
      if (row < m && column <= row) {
        hessian[entry(row, column)] = total;
      }
    }
  }
}
