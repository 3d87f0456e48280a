/** One neuron at a time: the address says which, so that links, history and bookmarks work. */

const root = document.documentElement;

export function openViews(): void {
  const title = document.title;
  /** Where the reader was in the study before a neuron was opened. */
  let left = { hash: location.hash, y: 0 };
  let open: Element | null = null;

  const show = (moved: boolean): void => {
    const target = place(location.hash);
    // A place within what is shown already, such as the start of the content.
    if (target?.tagName === "MAIN") return;
    const neuron = target?.closest(".neuron") ?? null;
    if (neuron !== open) {
      open?.classList.remove("open");
      neuron?.classList.add("open");
      root.classList.toggle("at-neuron", neuron !== null);
    }
    const before = open;
    open = neuron;
    const heading = neuron?.querySelector("h2") ?? null;
    document.title = heading ? `${heading.textContent} – ${title}` : title;
    if (neuron) {
      if (!moved) return;
      window.scrollTo(0, 0);
      heading!.focus({ preventScroll: true });
    } else if (before && location.hash === left.hash) window.scrollTo(0, left.y);
    else if (before) target?.scrollIntoView();
  };

  // Before the address changes: a link that leads to a neuron is about to be followed.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[href^='#']") : null;
    if (link && !open) left = { hash: location.hash, y: window.scrollY };
  });
  window.addEventListener("hashchange", () => show(true));
  root.classList.add("scripted");
  show(location.hash !== "");
}

function place(hash: string): Element | null {
  return hash.length > 1 ? document.getElementById(decodeURIComponent(hash.slice(1))) : null;
}
