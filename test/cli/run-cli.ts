/** Runs the built command line in a process of its own, as a user does. */
import { spawn, type ChildProcess } from "node:child_process";
import { resolve } from "node:path";

export const ROOT: string = resolve(import.meta.dirname, "../..");
export const CLI: string = resolve(ROOT, "dist/cli.js");
export const MODEL = "examples/model/haystack-4m";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called when the process has started, to disturb it. */
  readonly meanwhile?: (child: ChildProcess) => void;
}

/** Runs `sparseprobe` with these arguments in the repository's folder, and waits for its end. */
export function runCli(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const { input, env, meanwhile } = options;
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [CLI, ...args], {
      cwd: ROOT,
      // A test must not ask a hub, nor take over colours that the caller's terminal has.
      env: { ...process.env, NO_COLOR: "", HF_HUB_OFFLINE: "1", ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    // A reader that a test takes away.
    child.stdout.on("error", () => undefined);
    child.stdin.on("error", () => undefined);
    child.on("error", fail);
    child.on("close", (code) => done({ code, stdout, stderr }));
    meanwhile?.(child);
    if (input !== undefined) child.stdin.end(input);
  });
}

/** Calls `act` once the process has written `text` to standard error. */
export function whenSaid(child: ChildProcess, text: string, act: () => void): void {
  let said = "";
  let acted = false;
  child.stderr!.on("data", (piece: string) => {
    said += piece;
    if (acted || !said.includes(text)) return;
    acted = true;
    act();
  });
}
