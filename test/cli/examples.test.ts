/** Every example of the help texts and of the page about the command line runs, on fewer texts, by the name of the program. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CLI, ROOT, runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "sparseprobe-examples-"));

beforeAll(() => {
  mkdirSync(join(folder, "bin"));
  mkdirSync(join(folder, "examples/data"), { recursive: true });
  symlinkSync(CLI, join(folder, "bin/sparseprobe"));
  symlinkSync(join(ROOT, "examples/model"), join(folder, "examples/model"));
  const lines = readFileSync(join(ROOT, "examples/data/natural-language.jsonl"), "utf8").split("\n");
  const few = lines.filter((line) => /"label": "(de|en)", "doc": "topic-(0|10)/.test(line));
  expect(few).toHaveLength(20);
  writeFileSync(join(folder, "examples/data/natural-language.jsonl"), `${few.join("\n")}\n`);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Commands in their order, with continued lines joined. */
function commandsOf(text: string): string[] {
  return (
    text
      .replaceAll(/\\\n\s*/g, "")
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => /^sparseprobe [a-z]/.test(line) && !line.includes("[options]"))
      // Activations are there only where a command before has captured them.
      .filter(
        (line, _, lines) => !line.includes("--activations") || /^sparseprobe capture/m.test(lines.join("\n")),
      )
  );
}

function shell(command: string): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const env = { ...process.env, PATH: `${join(folder, "bin")}${delimiter}${process.env["PATH"]}` };
  return new Promise((done) => {
    execFile("/bin/sh", ["-c", command], { cwd: folder, env }, (error, stdout, stderr) =>
      done({ code: error?.code ?? 0, stdout, stderr }),
    );
  });
}

it.each(["probe", "neuron", "ablate", "capture"])("examples of %s --help", async (name) => {
  const commands = commandsOf((await runCli([name, "--help"])).stdout);
  expect(commands.length).toBeGreaterThan(0);
  for (const command of commands) {
    expect({ command, ...(await shell(`${command} --backend cpu --quiet`)) }).toMatchObject({
      code: 0,
      stderr: "",
    });
  }
  rmSync(join(folder, "activations"), { recursive: true, force: true });
});

it("examples of the page about the command line", async () => {
  const page = readFileSync(join(ROOT, "docs/command-line.md"), "utf8");
  const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map((match) => match[1]);
  const commands = commandsOf(blocks.join("\n"));
  expect(commands.length).toBeGreaterThan(3);
  for (const command of commands) {
    const ended = await shell(`${command} --backend cpu --quiet`);
    expect({ command, ...ended }).toMatchObject({ code: 0, stderr: "" });
    expect(ended.stdout).not.toBe("");
  }
  const [config] = [...page.matchAll(/^```json\n([\s\S]*?)^```/gm)].map((match) => match[1]);
  writeFileSync(join(folder, "config.json"), config);
  const { code, stdout } = await shell("sparseprobe probe --config config.json --backend cpu --quiet --json");
  expect(code).toBe(0);
  expect(Object.keys(JSON.parse(stdout) as object)).toContain("chosen");
});
