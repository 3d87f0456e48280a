/** Newton decrement λ²/(2·C·Σω) at which a fit counts as converged, unless the caller says otherwise. */
export const DEFAULT_TOLERANCE = 1e-16;
