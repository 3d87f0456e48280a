/** Activations of the CPU backend: host memory behind the contract's handle. */
import type { Activations, StorageType } from "../../data/activations.ts";
import { DisposedError, OptionError } from "../../errors.ts";
import type { CallOptions, DeviceActivations } from "../backend.ts";

export class CpuActivations implements DeviceActivations {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  #host: Activations | undefined;

  /** Borrows the matrix: nothing is copied. */
  constructor(host: Activations) {
    this.rows = host.rows;
    this.neurons = host.neurons;
    this.dtype = host.dtype;
    this.#host = host;
  }

  /** @throws DisposedError after `dispose()` */
  get host(): Activations {
    if (this.#host) return this.#host;
    throw new DisposedError("These activations were disposed of.", "Upload them again.");
  }

  read(options: CallOptions = {}): Promise<Activations> {
    return new Promise((resolve) => {
      options.signal?.throwIfAborted();
      resolve(this.host);
    });
  }

  dispose(): void {
    this.#host = undefined;
  }
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
