/** Progress on standard error: a bar with rate and time left on a terminal, one plain line per stage elsewhere. */

const WIDTH = 28;

export class Progress {
  readonly #terminal: boolean = process.stderr.isTTY;
  #stage = "";
  #started = 0;
  #drawn = 0;

  /** Shows that `done` of `total` units of a stage are finished. */
  show(stage: string, done: number, total: number): void {
    const now = performance.now();
    if (stage !== this.#stage) {
      this.clear();
      this.#stage = stage;
      this.#started = now;
      this.#drawn = 0;
      if (!this.#terminal) process.stderr.write(`${stage} …\n`);
    }
    if (!this.#terminal || (now - this.#drawn < 80 && done < total)) return;
    this.#drawn = now;
    const share = total === 0 ? 1 : done / total;
    const seconds = (now - this.#started) / 1000;
    const left = share > 0 ? seconds / share - seconds : NaN;
    const bar = "█".repeat(Math.round(share * WIDTH)).padEnd(WIDTH, "░");
    const rate = seconds > 0 ? Math.round(done / seconds) : 0;
    const time = Number.isFinite(left) ? `${left.toFixed(0)} s left` : "";
    process.stderr.write(
      `\r\x1b[2K${stage.padEnd(24)} ${bar} ${Math.floor(100 * share)} %  ${rate}/s  ${time}`,
    );
  }

  /** Removes the bar, so that other output can follow. */
  clear(): void {
    if (this.#terminal && this.#stage !== "") process.stderr.write("\r\x1b[2K");
    this.#stage = "";
  }
}
