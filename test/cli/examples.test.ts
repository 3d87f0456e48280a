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

/** The study of an example, told to be content with fewer rows. */
function writeStudy(json: string): void {
  const sampling = '"sampling": { "positiveShare": 0.5, "leastRows": 5 }, "files"';
  writeFileSync(join(folder, "study.json"), json.replace('"files"', sampling));
}

/** As the user would run it, but quietly and where every machine can. */
function run(command: string): ReturnType<typeof shell> {
  return shell(`${command}${command.startsWith("sparseprobe report") ? "" : " --backend cpu"} --quiet`);
}

// In this order: the report shows the rows of the sweep.
it.each(["probe", "neuron", "ablate", "capture", "sweep", "report"])(
  "examples of %s --help",
  async (name) => {
    const { stdout } = await runCli([name, "--help"]);
    const study = /^ {2}\{\n[\s\S]*?^ {2}\}\n/m.exec(stdout);
    if (study) writeStudy(study[0]);
    const commands = commandsOf(stdout);
    expect(commands.length).toBeGreaterThan(0);
    for (const command of commands) {
      expect({ command, ...(await run(command)) }).toMatchObject({ code: 0, stderr: "" });
    }
  },
);

it("examples of the page about the command line", async () => {
  const page = readFileSync(join(ROOT, "docs/command-line.md"), "utf8");
  const blocks = (language: string): string[] =>
    Array.from(
      page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm")),
      (match) => match[1],
    );
  const [study, config] = blocks("json");
  writeStudy(study);
  // The files of the other examples have no part in these.
  for (const name of ["activations", "rows.jsonl", "report.html", "neurons.json", "study.journal"]) {
    rmSync(join(folder, name), { recursive: true, force: true });
  }
  const commands = commandsOf(blocks("sh").join("\n"));
  expect(commands.length).toBeGreaterThan(6);
  for (const command of commands) {
    expect({ command, ...(await run(command)) }).toMatchObject({ code: 0, stderr: "" });
  }
  writeFileSync(join(folder, "config.json"), config);
  const { code, stdout } = await shell("sparseprobe probe --config config.json --backend cpu --quiet --json");
  expect(code).toBe(0);
  expect(Object.keys(JSON.parse(stdout) as object)).toContain("chosen");
});
