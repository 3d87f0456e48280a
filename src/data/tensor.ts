/** A named, shaped block of numbers, and where a model's weights come from. */

/** Element types of the tensor files that the library reads, in safetensors' names. */
export type TensorType =
  "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U64" | "U32" | "U16" | "U8" | "BOOL";

/** What a source knows about a tensor before its bytes are read. */
export interface TensorInfo {
  readonly dtype: TensorType;
  readonly shape: readonly number[];
}

/** Row-major values of one tensor as float32. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Tensors by name, read one at a time so that a checkpoint never has to fit in memory at once. */
export interface TensorSource {
  /** Every tensor's type and shape by name. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Reads one tensor, widened to float32.
   * @throws MissingTensorError when there is no tensor of that name
   */
  read(name: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<Tensor>;
}
