/** One job in a process of its own, so that its peak memory is its own. Started by run.ts, which tells it what to do. */
import { captureSpeed } from "./capture.bench.ts";
import { classMomentsManyFeatures, classMomentsOneFeature } from "./class-moments.bench.ts";
import type { DataFiles } from "./data.ts";
import { denseProbe } from "./dense-probe.bench.ts";
import type { GpuLimits } from "./gpu.ts";
import { openOurs, type Job, type OurKind } from "./job.ts";
import { logisticSupports } from "./logistic-supports.bench.ts";
import type { Limits } from "./machine.ts";
import { profileCall } from "./profile.ts";
import type { TaskResult } from "./results.ts";
import { Rival } from "./rival.ts";
import { scaling } from "./scaling.bench.ts";
import { singleNeuronProbes } from "./single-neuron-probes.bench.ts";
import { textsToProbes } from "./texts-to-probes.bench.ts";

export type JobName = "J1" | "J1b" | "J2" | "J3" | "J4" | "J5" | "J6" | "J7";

export interface JobRequest {
  readonly job: JobName;
  readonly kind: OurKind;
  readonly files: DataFiles;
  readonly limits: readonly Limits[];
  readonly gpuLimits?: GpuLimits;
  readonly threadCounts: readonly number[];
  readonly python: string;
  readonly rounds: number;
  readonly runSeconds: number;
}

export interface JobAnswer {
  readonly tasks: readonly TaskResult[];
  readonly device: string;
  /** Threads that ours computed with. */
  readonly threads: readonly number[];
  readonly rivals: Readonly<Record<string, string>>;
}

const JOBS: Readonly<Record<JobName, Job>> = {
  J1: classMomentsOneFeature,
  J1b: classMomentsManyFeatures,
  J2: logisticSupports,
  J3: denseProbe,
  J4: singleNeuronProbes,
  J5: textsToProbes,
  J6: scaling,
  J7: captureSpeed,
};

async function runJob(request: JobRequest): Promise<JobAnswer> {
  const ours = await openOurs(request.kind, request.threadCounts);
  const rivals: Rival[] = [];
  for (const threads of request.job === "J6" ? [] : request.threadCounts) {
    rivals.push(await Rival.start(request.python, threads, { cuda: request.kind === "webgpu" }));
  }
  try {
    const tasks = await JOBS[request.job]({
      files: request.files,
      kind: request.kind,
      limits: request.limits,
      ...(request.gpuLimits && { gpuLimits: request.gpuLimits, softwareGpu: request.gpuLimits.software }),
      rounds: request.rounds,
      runSeconds: request.runSeconds,
      ours,
      rivals,
      profile: profileCall,
      log: (line) => console.log(line),
    });
    const versions: Record<string, string> = {};
    for (const rival of rivals) {
      if (rival.missing !== undefined) versions["python"] = `not installed: ${rival.missing}`;
      for (const [name, version] of Object.entries(rival.versions))
        versions[name] = version ?? "not installed";
    }
    const threads = ours.filter(({ unavailable }) => !unavailable).map((one) => one.threads);
    return { tasks, device: ours[0].backend.info.device, threads, rivals: versions };
  } finally {
    for (const { backend } of ours) backend.dispose();
    for (const rival of rivals) rival.close();
  }
}

process.once("message", (request: JobRequest) => {
  runJob(request).then(
    (answer) => process.send!(answer, () => process.disconnect()),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
