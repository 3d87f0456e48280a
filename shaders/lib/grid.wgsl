// Workgroups numbered in one dimension. A dispatch of more workgroups than one dimension holds is folded into rows of a
// grid; the last row may run past the end, so callers compare the number with the count of their tiles.

fn linear_workgroup(group: vec3<u32>, grid: vec3<u32>) -> u32 {
  return group.x + group.y * grid.x;
}
