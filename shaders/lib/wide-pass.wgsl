// The data pass of logistic_newton with up to 32 parameters: rows pass through workgroup memory, and a thread sums 4 × 4
// entries of the Hessian over a share of them.

// Rows in workgroup memory at a time, at most THREADS; times vectors | 1, at least 2·THREADS.
override tile_rows: u32 = 96u;

// A tile of rows, vectors | 1 vectors apart so that threads use different banks; then sums to be added up.
var<workgroup> scratch: array<vec4<f32>, tile_rows * (vectors | 1u)>;
// Residual and curvature of the tile's rows.
var<workgroup> row_factors: array<vec2<f32>, THREADS>;

/// Loss, gradient and Hessian of all rows at `point`. Block b of the Hessian's lower triangle is summed by threads b, b + blocks, …
fn data_pass(k: u32, first_label: u32, lane: u32) {
  let m = k + 1u;
  let stride = vectors | 1u;
  let blocks = vectors * (vectors + 1u) / 2u;
  let shares = THREADS / blocks;
  let share = lane / blocks;
  var row_block = 0u;
  var column_block = lane % blocks;
  while (column_block > row_block) {
    row_block++;
    column_block -= row_block;
  }
  var loss = 0.0;
  var g = vec4<f32>();
  var h0 = vec4<f32>();
  var h1 = vec4<f32>();
  var h2 = vec4<f32>();
  var h3 = vec4<f32>();
  for (var top = 0u; top < params.rows; top += tile_rows) {
    workgroupBarrier();
    for (var item = lane; item < vectors * tile_rows; item += THREADS) {
      let row = item % tile_rows;
      let q = item / tile_rows;
      var x = vec4<f32>();
      if (top + row < params.rows) {
        x = design_vector(q, k, top + row);
      }
      scratch[row * stride + q] = x;
    }
    workgroupBarrier();
    if (lane < tile_rows) {
      let row = top + lane;
      var terms = vec3<f32>();
      if (row < params.rows) {
        var z = 0.0;
        for (var q = 0u; q < vectors; q++) {
          z += dot(scratch[lane * stride + q], point[q]);
        }
        terms = row_terms(label_in(labels[first_label + row / 4u], row), z);
      }
      loss += terms.x;
      row_factors[lane] = terms.yz;
    }
    workgroupBarrier();
    if (share < shares) {
      for (var row = share; row < tile_rows; row += shares) {
        let f = row_factors[row];
        let x = scratch[row * stride + row_block];
        let y = scratch[row * stride + column_block];
        let h = f.y * x;
        g += f.x * x;
        h0 += h.x * y;
        h1 += h.y * y;
        h2 += h.z * y;
        h3 += h.w * y;
      }
    }
  }
  for (var u = 0u; u < 4u; u++) {
    workgroupBarrier();
    scratch[lane] = select(select(h0, h1, u == 1u), select(h2, h3, u == 3u), u > 1u);
    workgroupBarrier();
    if (lane < blocks) {
      var sum = vec4<f32>();
      for (var s = 0u; s < shares; s++) {
        sum += scratch[s * blocks + lane];
      }
      let a = 4u * row_block + u;
      for (var v = 0u; v < 4u; v++) {
        let b = 4u * column_block + v;
        if (a < m && b <= a) {
          hessian[entry(a, b)] = sum[v];
        }
      }
    }
  }
  workgroupBarrier();
  // Gradients by their blocks on the diagonal, and the loss of every thread.
  scratch[lane] = g;
  scratch[THREADS + lane] = vec4<f32>(loss, 0.0, 0.0, 0.0);
  workgroupBarrier();
  if (lane < m) {
    let q = lane / 4u;
    var sum = 0.0;
    for (var s = 0u; s < shares; s++) {
      sum += scratch[s * blocks + entry(q, q)][lane % 4u];
    }
    gradient[lane] = sum;
  }
  for (var width = THREADS / 2u; width > 0u; width /= 2u) {
    if (lane < width) {
      scratch[THREADS + lane].x += scratch[THREADS + lane + width].x;
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    loss_total = scratch[THREADS].x;
  }
}
