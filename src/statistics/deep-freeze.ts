/** Results that nobody can change. */

/** Freezes plain objects and arrays all the way down; typed arrays cannot be frozen and are left alone. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) {
    return value;
  }
  for (const part of Object.values(value) as unknown[]) deepFreeze(part);
  return Object.freeze(value);
}
