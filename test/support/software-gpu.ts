/**
 * A GPU for tests on any linux-x64 machine: SwiftShader (Vulkan on the CPU) as shipped with `@sparticuz/chromium`,
 * unpacked once under node_modules/.cache. Vitest's global setup: the dynamic linker reads `LD_LIBRARY_PATH` when a
 * process starts, so the variables must be set before the test forks are.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { brotliDecompressSync } from "node:zlib";

const ARCHIVE = "bin/swiftshader.tar.br";
const BLOCK = 512;

interface Entry {
  readonly name: string;
  readonly data: Uint8Array;
}

/** Files of a tar archive (ustar: name at 0, size in octal at 124). */
function* untar(archive: Buffer): Generator<Entry> {
  for (let at = 0; at + BLOCK <= archive.length;) {
    const name = archive.toString("latin1", at, at + 100).split("\0")[0];
    if (name === "") return;
    const size = parseInt(archive.toString("latin1", at + 124, at + 136), 8);
    yield { name, data: archive.subarray(at + BLOCK, at + BLOCK + size) };
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
}

/** Unpacks SwiftShader if that has not been done and returns the folder that holds it. */
export function unpackSoftwareGpu(): string {
  const require = createRequire(import.meta.url);
  const entry = require.resolve("@sparticuz/chromium");
  const root = entry.slice(0, entry.lastIndexOf("chromium") + "chromium".length);
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const target = join(dirname(dirname(root)), ".cache", `sparseprobe-swiftshader-${version}`);
  if (existsSync(join(target, "vk_swiftshader_icd.json"))) return target;
  // Written aside and renamed, so that two runs at once never see half a library.
  const aside = `${target}.${process.pid}`;
  mkdirSync(aside, { recursive: true });
  for (const { name, data } of untar(brotliDecompressSync(readFileSync(join(root, ARCHIVE))))) {
    if (/^(libvk_swiftshader\.so|libvulkan\.so\.1|vk_swiftshader_icd\.json)$/.test(name)) {
      writeFileSync(join(aside, name), data);
    }
  }
  try {
    renameSync(aside, target);
  } catch (error) {
    if (!existsSync(join(target, "vk_swiftshader_icd.json"))) throw error;
  }
  return target;
}

/** Vitest's global setup. `SPARSEPROBE_GPU=system` leaves the machine's own Vulkan driver in place. */
export function setup(): void {
  if (process.platform !== "linux" || process.arch !== "x64" || process.env["SPARSEPROBE_GPU"] === "system")
    return;
  const folder = unpackSoftwareGpu();
  process.env["VK_ICD_FILENAMES"] = join(folder, "vk_swiftshader_icd.json");
  const inherited = process.env["LD_LIBRARY_PATH"];
  process.env["LD_LIBRARY_PATH"] = inherited ? `${folder}:${inherited}` : folder;
}
