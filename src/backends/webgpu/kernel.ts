/**
 * A kernel: one WGSL entry point with a typed description of what it is bound to. The description and the WGSL say the
 * same thing twice on purpose; a reflection test holds them equal, and TypeScript checks every dispatch against it.
 *
 * Conventions that the test enforces: everything is in `@group(0)`; the i-th entry of `bindings` is `@binding(i)` and
 * has the variable's name; at most one binding is a uniform, and `params` are its struct's fields in order.
 */

/** How a kernel uses a binding. */
export type BindingKind = "storage-read" | "storage-read-write" | "uniform";

/** Scalar types of the uniform struct's fields: four bytes each. */
export type ParamType = "u32" | "i32" | "f32";

export type Bindings = Readonly<Record<string, BindingKind>>;
export type Params = Readonly<Record<string, ParamType>>;
export type Overrides = Readonly<Record<string, number>>;

/** A kernel without params, or without overrides. */
export type None = Readonly<Record<string, never>>;

/** What {@link defineKernel} is told. */
export interface KernelDescription<B extends Bindings, P extends Params, O extends Overrides> {
  /** Name in GPU error messages and captures: the file's name. */
  readonly label: string;
  /** Complete WGSL text: the library functions used, then the kernel's own file. */
  readonly source: string;
  /** Name of the `@compute` function. */
  readonly entryPoint: string;
  /** Variables by binding index. */
  readonly bindings: B;
  /** Fields of the uniform struct. */
  readonly params: P;
  /** `override` constants and their defaults. */
  readonly overrides: O;
  /** Optional device features without which the source does not compile. */
  readonly requires: readonly GPUFeatureName[];
}

/** A kernel description; the object's identity is part of the pipeline cache's key. */
export interface Kernel<
  B extends Bindings = Bindings,
  P extends Params = Params,
  O extends Overrides = Overrides,
> extends KernelDescription<B, P, O> {
  readonly kind: "kernel";
}

/** Names of a kernel's storage bindings: the uniform is filled from the params. */
export type StorageNames<B extends Bindings> = {
  [Name in keyof B]: B[Name] extends "uniform" ? never : Name;
}[keyof B];

/** Describes a kernel. See the conventions at the top of this file. */
export function defineKernel<
  const B extends Bindings,
  const P extends Params = None,
  const O extends Overrides = None,
>(
  description: Partial<Pick<KernelDescription<B, P, O>, "params" | "overrides" | "requires">> &
    Omit<KernelDescription<B, P, O>, "params" | "overrides" | "requires">,
): Kernel<B, P, O> {
  const { params = {} as P, overrides = {} as O, requires = [] } = description;
  return { ...description, params, overrides, requires, kind: "kernel" };
}

/** Bytes of the uniform struct: its fields, rounded up to the 16 bytes that uniform structs are aligned to. */
export function paramBytes(params: Params): number {
  return Math.ceil((Object.keys(params).length * 4) / 16) * 16;
}
