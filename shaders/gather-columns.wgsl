// Copies some columns of some rows as float32, row-major or column-major.
//
//   out[first_out*row_stride + r*row_stride + c*column_stride] = x[rows[r], columns[c]]
//
// x        [chunk rows × neurons] values in their storage type (lib/storage.wgsl)
// code     [2 × neurons] scales, then offsets; read with unsigned bytes only
// rows     [row_count] rows of the chunk
// columns  [column_count]
// out      strided as above

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> code: array<f32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> columns: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

struct Params {
  neurons: u32,
  row_count: u32,
  column_count: u32,
  first_out: u32,
  row_stride: u32,
  column_stride: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn gather_columns(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = linear_workgroup(group, grid) * workgroup_size + lane;
  if (item >= params.row_count * params.column_count) {
    return;
  }
  // Neighbouring threads write neighbouring places.
  let by_row = params.column_stride == 1u;
  let inner = select(params.row_count, params.column_count, by_row);
  let r = select(item % inner, item / inner, by_row);
  let c = select(item / inner, item % inner, by_row);
  let column = columns[c];
  let index = rows[r] * params.neurons + column;
  var value = decode(x[word_of(index)], index);
  if (storage_type == 2u) {
    value = fma(code[column], value, code[params.neurons + column]);
  }
  out[(params.first_out + r) * params.row_stride + c * params.column_stride] = value;
}
