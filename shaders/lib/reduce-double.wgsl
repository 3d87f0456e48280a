// Sums of doubles over a workgroup of workgroup_size threads, a power of two.

override workgroup_size: u32 = 64u;

var<workgroup> double_scratch: array<vec2<f32>, workgroup_size>;

/// The sum of every thread's double, returned to all of them. To be called from uniform control flow.
fn workgroup_double_sum(value: vec2<f32>, lane: u32) -> vec2<f32> {
  workgroupBarrier();
  double_scratch[lane] = value;
  workgroupBarrier();
  for (var width = workgroup_size / 2u; width > 0u; width /= 2u) {
    if (lane < width) {
      double_scratch[lane] = double_add(double_scratch[lane], double_scratch[lane + width]);
    }
    workgroupBarrier();
  }
  return double_scratch[0];
}
