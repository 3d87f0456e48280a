/**
 * A headless Chromium with WebGPU on a software GPU, from npm packages alone: nothing has to be installed on the
 * machine. The browser is unpacked once, under node_modules/.cache.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { chromium, type Browser } from "playwright";

const require = createRequire(import.meta.url);
const ROOT = resolve(import.meta.dirname, "../..");

/** Unpacks the browser, the libraries that a bare machine lacks and SwiftShader; returns the folder. */
function unpackChromium(): string {
  const packageRoot = resolve(dirname(require.resolve("@sparticuz/chromium")), "../..");
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as {
    version: string;
  };
  const folder = join(ROOT, "node_modules/.cache/sparseprobe", `chromium-${version}`);
  if (existsSync(folder)) return folder;
  const scratch = `${folder}.${process.pid}`;
  mkdirSync(scratch, { recursive: true });
  const unpack = (name: string): Buffer => brotliDecompressSync(readFileSync(join(packageRoot, "bin", name)));
  writeFileSync(join(scratch, "chromium"), unpack("chromium.br"));
  chmodSync(join(scratch, "chromium"), 0o755);
  // Chromium looks for SwiftShader's Vulkan driver beside its own executable.
  for (const name of ["al2023.tar.br", "swiftshader.tar.br"]) {
    execFileSync("tar", ["-x", "-C", scratch], { input: unpack(name) });
  }
  try {
    renameSync(scratch, folder);
  } catch (error) {
    rmSync(scratch, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

/** Starts the browser; the caller closes it. */
export async function openChromium(): Promise<Browser> {
  const folder = unpackChromium();
  return chromium.launch({
    executablePath: join(folder, "chromium"),
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
    env: {
      ...(process.env as Record<string, string>),
      LD_LIBRARY_PATH: [join(folder, "lib"), join(folder, "al2023/lib"), process.env["LD_LIBRARY_PATH"]]
        .filter(Boolean)
        .join(":"),
    },
  });
}
