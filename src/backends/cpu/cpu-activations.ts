/** Activations of the CPU backend: host memory behind the contract's handle. */
import { Activations, type StorageType } from "../../data/activations.ts";
import { DisposedError, OptionError } from "../../errors.ts";
import type { CallOptions, DeviceActivations } from "../backend.ts";

export class CpuActivations implements DeviceActivations {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  #host: Activations | undefined;
  readonly #release: (() => void) | undefined;

  /**
   * Borrows the matrix: nothing is copied.
   * @param release gives back the memory that the matrix lies in, which `read()` then copies
   */
  constructor(host: Activations, release?: () => void) {
    this.rows = host.rows;
    this.neurons = host.neurons;
    this.dtype = host.dtype;
    this.#host = host;
    this.#release = release;
  }

  /** @throws DisposedError after `dispose()` */
  get host(): Activations {
    if (this.#host) return this.#host;
    throw new DisposedError("These activations were disposed of.", "Upload them again.");
  }

  read(options: CallOptions = {}): Promise<Activations> {
    return new Promise((resolve) => {
      options.signal?.throwIfAborted();
      resolve(this.#release ? copyOf(this.host) : this.host);
    });
  }

  dispose(): void {
    if (!this.#host) return;
    this.#host = undefined;
    this.#release?.();
  }
}

function copyOf(x: Activations): Activations {
  const { rows, neurons, provenance, dtype, groups, code } = x;
  return new Activations(x.data.slice(), [rows, neurons], {
    dtype,
    provenance,
    ...(groups && { groups }),
    ...(code && { code }),
  });
}

/** The matrix on the host, valid until `dispose()`: read back only where it does not lie there. */
export async function borrow(x: DeviceActivations, options: CallOptions = {}): Promise<Activations> {
  if (!(x instanceof CpuActivations)) return x.read(options);
  options.signal?.throwIfAborted();
  return x.host;
}

/**
 * The host matrix behind a handle.
 * @throws OptionError when the handle belongs to another backend
 */
export function hostOf(x: DeviceActivations): Activations {
  if (x instanceof CpuActivations) return x.host;
  throw new OptionError(
    "These activations live on another backend.",
    "Read them back with read() and upload the result to this backend.",
  );
}
