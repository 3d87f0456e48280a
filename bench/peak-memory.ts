/** Peak resident memory of this process over a stretch of work. */
import { readFileSync, writeFileSync } from "node:fs";

/** Resident bytes now. */
export function residentBytes(): number {
  return process.memoryUsage.rss();
}

/** Starts a new stretch. Only Linux can forget an earlier peak; elsewhere the peak is that of the process's life. */
export function forgetPeak(): void {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // peakBytes() then falls back to the process's life.
  }
}

/** Most resident bytes since {@link forgetPeak}. */
export function peakBytes(): number {
  try {
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
    if (found) return Number(found[1]) * 1024;
  } catch {
    // Not Linux.
  }
  return process.resourceUsage().maxRSS * 1024;
}
