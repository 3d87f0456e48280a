/** Packages that only some calls need. */
import { MissingPackageError } from "../errors.ts";

/**
 * Loads a package that is installed only where it is wanted.
 * @param load `() => import("…")`, so that bundlers see the name
 * @throws MissingPackageError when it is not there or does not load
 */
export async function optionalPackage<T>(name: string, what: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new MissingPackageError(
      `${what} needs the package ${name}, which cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}.`,
      `Install it: npm install ${name}`,
      { cause },
    );
  }
}
