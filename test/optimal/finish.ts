/** Runs work that pauses to its end. */
export function finish<T>(steps: Generator<undefined, T, undefined>): T {
  for (;;) {
    const state = steps.next();
    if (state.done) return state.value;
  }
}
