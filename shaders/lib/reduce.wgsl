// Sums and maxima over a workgroup as a tree of depth log2(workgroup_size); the size must be a power of two.

override workgroup_size: u32 = 64u;

var<workgroup> reduce_scratch: array<f32, workgroup_size>;

/// The sum of every thread's value, returned to all of them. To be called from uniform control flow.
fn workgroup_sum(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  reduce_scratch[lane] = value;
  workgroupBarrier();
  for (var width = workgroup_size / 2u; width > 0u; width /= 2u) {
    if (lane < width) {
      reduce_scratch[lane] += reduce_scratch[lane + width];
    }
    workgroupBarrier();
  }
  return reduce_scratch[0];
}

/// The largest of every thread's values, in the same way.
fn workgroup_max(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  reduce_scratch[lane] = value;
  workgroupBarrier();
  for (var width = workgroup_size / 2u; width > 0u; width /= 2u) {
    if (lane < width) {
      reduce_scratch[lane] = max(reduce_scratch[lane], reduce_scratch[lane + width]);
    }
    workgroupBarrier();
  }
  return reduce_scratch[0];
}
