// Changes columns of some rows in place: by kind, x becomes value, value·x or x + value, value being the column's.
//
// x        [rows × stride]
// columns  [width]
// values   [width]
// rows     [count / width] rows to change; not read where the first ones are

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read> columns: array<u32>;
@group(0) @binding(2) var<storage, read> values: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;

struct Params {
  // Values to change.
  count: u32,
  width: u32,
  stride: u32,
  // 0: value, 1: value·x, 2: x + value.
  kind: u32,
  // 1: the rows are those listed.
  listed: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn intervene(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = linear_workgroup(group, grid) * workgroup_size + lane;
  if (item >= params.count) {
    return;
  }
  var row = item / params.width;
  if (params.listed == 1u) {
    row = rows[row];
  }
  let column = item % params.width;
  let place = row * params.stride + columns[column];
  let value = values[column];
  if (params.kind == 0u) {
    x[place] = value;
  } else if (params.kind == 1u) {
    x[place] = x[place] * value;
  } else {
    x[place] = x[place] + value;
  }
}
