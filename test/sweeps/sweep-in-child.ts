/** Runs the study of the journals' tests as a process of its own: `sweep-in-child.ts journal`. */
import { openSweepJournal } from "../../src/node/sweep-journal.ts";
import { sweep } from "../../src/sweeps/sweep.ts";
import { journalStudy } from "./journal-study.ts";

const study = journalStudy();
const journal = await openSweepJournal(process.argv[2]);
console.log("ready");
let rows = 0;
for await (const row of sweep(study, { journal })) if (row.status === "ok") rows++;
await journal.close();
console.log(rows);
