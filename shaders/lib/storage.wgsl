// Activations as they are stored: flat, row-major, 2^storage_type values in a 32-bit word.
//   storage_type = 0: float32;  1: binary16;  2: unsigned bytes q, with value = scale[j]*q + offset[j] for neuron j.
// Kernels apply the affine code with fma: left to the compiler, one kernel may fuse what another rounds twice, and a
// constant neuron would differ from its own pivot.

override storage_type: u32 = 0u;

/// The word that holds a value.
fn word_of(index: u32) -> u32 {
  return index >> storage_type;
}

/// The value in a word, before the affine code of unsigned bytes.
fn decode(word: u32, index: u32) -> f32 {
  if (storage_type == 0u) {
    return bitcast<f32>(word);
  }
  if (storage_type == 1u) {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, (index & 1u) == 1u);
  }
  return f32((word >> (8u * (index & 3u))) & 0xffu);
}

/// Whether a stored value is finite, by its bits: float comparisons mean nothing there.
fn is_finite(word: u32, index: u32) -> bool {
  if (storage_type == 0u) {
    return (word & 0x7f800000u) != 0x7f800000u;
  }
  if (storage_type == 1u) {
    return ((word >> (16u * (index & 1u))) & 0x7c00u) != 0x7c00u;
  }
  return true;
}
