/**
 * One error class per situation. Every message ends with what to do about it; `remedy` holds that part alone and
 * `code` is stable, for programs.
 */

export type ErrorCode =
  | "shape"
  | "empty-data"
  | "non-finite"
  | "labels"
  | "one-class"
  | "support-size"
  | "option"
  | "format"
  | "missing-tensor"
  | "unsupported-model"
  | "context-length"
  | "backend-unavailable"
  | "device-lost"
  | "device"
  | "out-of-memory"
  | "disposed"
  | "hub"
  | "journal"
  | "missing-package";

/** Base of every error that sparseprobe throws on purpose. */
export abstract class SparseProbeError extends Error {
  abstract readonly code: ErrorCode;
  /** What the caller can do about it, as a sentence. */
  readonly remedy: string;

  constructor(problem: string, remedy: string, options?: { cause?: unknown }) {
    super(`${problem} ${remedy}`, options);
    this.name = new.target.name;
    this.remedy = remedy;
  }
}

/** Two things that must have matching dimensions do not, or a dimension is not a whole number. */
export class ShapeError extends SparseProbeError {
  readonly code = "shape";
}

/** No rows or no neurons are left to work on. */
export class EmptyDataError extends SparseProbeError {
  readonly code = "empty-data";
}

/** An input holds NaN or an infinity. */
export class NonFiniteError extends SparseProbeError {
  readonly code = "non-finite";
}

/** Labels of a kind that cannot be read as two classes. */
export class LabelError extends SparseProbeError {
  readonly code = "labels";
}

/** All labelled rows belong to one class: there is nothing to tell apart. */
export class OneClassError extends SparseProbeError {
  readonly code = "one-class";
}

/** k is not a whole number between 1 and the number of neurons. */
export class SupportSizeError extends SparseProbeError {
  readonly code = "support-size";
}

/** An option has a value outside its documented range. */
export class OptionError extends SparseProbeError {
  readonly code = "option";
}

/** Bytes that claim to be a file format and are not: truncated, inconsistent or hostile. */
export class FormatError extends SparseProbeError {
  readonly code = "format";
}

/** A checkpoint lacks a tensor that the architecture needs, or has it in another shape. */
export class MissingTensorError extends SparseProbeError {
  readonly code = "missing-tensor";
}

/** A model architecture, or a variant of one, that this version does not run. */
export class UnsupportedModelError extends SparseProbeError {
  readonly code = "unsupported-model";
}

/** A text has more tokens than the model's context holds. */
export class ContextLengthError extends SparseProbeError {
  readonly code = "context-length";
}

/** The backend asked for cannot run here. */
export class BackendUnavailableError extends SparseProbeError {
  readonly code = "backend-unavailable";
}

/** The GPU device was lost (driver reset, unplugged, destroyed) before or during the call. */
export class DeviceLostError extends SparseProbeError {
  readonly code = "device-lost";
}

/** The GPU reported a validation or internal error. */
export class DeviceError extends SparseProbeError {
  readonly code = "device";
}

/** An allocation failed, or a buffer would exceed the device's limits. */
export class OutOfMemoryError extends SparseProbeError {
  readonly code = "out-of-memory";
}

/** The object was used after `dispose()`. */
export class DisposedError extends SparseProbeError {
  readonly code = "disposed";
}

/** A package that only some calls need is not installed. */
export class MissingPackageError extends SparseProbeError {
  readonly code = "missing-package";
}

/** What a {@link HubError} is about. */
export type HubFailure =
  "access" | "not-found" | "network" | "size" | "checksum" | "storage" | "no-safetensors";

/**
 * A model's files could not be had from a hub. `reason` tells programs why: no right to read it (401, 403); no such
 * model, revision or file; no answer, or none that is complete, after several tries; another size or checksum than the hub said;
 * nowhere to keep the file; weights in pickled form alone.
 */
export class HubError extends SparseProbeError {
  readonly code = "hub";
  readonly reason: HubFailure;

  constructor(reason: HubFailure, problem: string, remedy: string, options?: { cause?: unknown }) {
    super(problem, remedy, options);
    this.reason = reason;
  }
}
