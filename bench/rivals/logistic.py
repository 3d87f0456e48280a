"""Logistic regression for J2, J3 and J4. Versions: requirements.txt.

Objective: C·Σ ω·log(1 + exp(−s(x·w + b))) + ½|w|², balanced ω, intercept without penalty. Results: rows (w, b).

With several threads, independent fits run in as many processes of one thread each: for problems of this size that beats
threads inside BLAS, and scikit-learn's users do it with joblib.
"""

import multiprocessing

import numpy as np

LOADED = {}
POOL = None


def import_sklearn():
    """Now, so that no first run is charged for it."""
    try:
        import sklearn.linear_model
        import sklearn.metrics  # noqa: F401
    except ImportError:
        pass


def one_thread():
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def load(parameters):
    global POOL
    if POOL is not None:
        POOL.terminate()
        POOL = None
    import_sklearn()
    LOADED.clear()
    LOADED["tensors"] = {}
    LOADED["y"] = y = np.load(parameters["labels"])[0].astype(np.int64)
    if "supports" in parameters:
        # In the rivals' favour: their columns lie ready, contiguous. Indexing X itself costs them up to twice as much.
        pool = np.load(parameters["pool"])
        x = np.asfortranarray(np.load(parameters["x"], mmap_mode="r")[:, pool])
        LOADED.update(x=x, x64=np.asfortranarray(x.astype(np.float64)), supports=np.load(parameters["supports"]))
    else:
        x = np.load(parameters["x"])
        if "columns" in parameters:
            x = np.ascontiguousarray(x[:, : parameters["columns"]])
        if parameters.get("centred"):
            LOADED["mean"] = x.mean(0, dtype=np.float64)
            x -= LOADED["mean"].astype(np.float32)
        LOADED["x"] = x
    assert len(y) == len(LOADED["x"])
    if parameters.get("processes", 1) > 1:
        # Forked here, before any library has started threads of its own; the data are shared.
        POOL = multiprocessing.get_context("fork").Pool(parameters["processes"], one_thread)
    return LOADED


def each(work, items):
    """Concatenated results of work(part) over parts of the items, on all processes."""
    if POOL is None:
        return work(items)
    parts = [part for part in np.array_split(np.asarray(items), 4 * POOL._processes) if len(part) > 0]
    return np.concatenate(POOL.map(work, parts, 1))


def sklearn_fit(x, y, solver, C=1.0, tol=1e-10, max_iter=100):
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=C, class_weight="balanced", solver=solver, tol=tol, max_iter=max_iter).fit(x, y)
    return np.append(fit.coef_[0], fit.intercept_[0])


def row_weights(y):
    n, n1 = len(y), int(y.sum())
    return np.where(y == 1, n / (2 * n1), n / (2 * (n - n1)))


def newton_float32(x, y, steps=30):
    """What an expert writes: Newton in float32 on centred columns, derivatives by BLAS, the system in float64."""
    s = row_weights(y).astype(np.float32)
    centre = x.mean(0)
    x = x - centre
    n, k = x.shape
    theta = np.zeros(k + 1)
    for _ in range(steps):
        z = x @ theta[:k].astype(np.float32) + np.float32(theta[k])
        p = 1 / (1 + np.exp(-z))
        r = s * (p - y)
        gradient = np.append(x.T @ r + theta[:k], r.sum(dtype=np.float64))
        d = s * p * (1 - p)
        xd = x * d[:, None]
        hessian = np.empty((k + 1, k + 1))
        hessian[:k, :k] = x.T @ xd + np.eye(k)
        hessian[:k, k] = hessian[k, :k] = xd.sum(0, dtype=np.float64)
        hessian[k, k] = d.sum(dtype=np.float64)
        step = np.linalg.solve(hessian, gradient)
        theta -= step
        if gradient @ step <= 1e-9 * 2 * n:
            break
    theta[k] -= theta[:k] @ centre
    return theta


def newton_columns(x, y, steps=5, block=64):
    """One probe per column, Newton on blocks of columns at once, float32."""
    s = row_weights(y).astype(np.float32)[:, None]
    target = y.astype(np.float32)[:, None]
    out = []
    for start in range(0, x.shape[1], block):
        b = np.ascontiguousarray(x[:, start : start + block])
        mean = b.mean(0)
        b = b - mean
        w = np.zeros(b.shape[1], np.float32)
        c = np.zeros(b.shape[1], np.float32)
        for _ in range(steps):
            p = b * w
            p += c
            np.negative(p, p)
            np.exp(p, p)
            p += 1
            np.reciprocal(p, p)
            r = p - target
            r *= s
            d = 1 - p
            d *= p
            d *= s
            g0 = r.sum(0, dtype=np.float64)
            g1 = np.einsum("ij,ij->j", r, b) + w
            db = d * b
            h00 = d.sum(0, dtype=np.float64)
            h01 = db.sum(0, dtype=np.float64)
            h11 = np.einsum("ij,ij->j", db, b) + 1
            det = h00 * h11 - h01 * h01
            w = (w - (h00 * g1 - h01 * g0) / det).astype(np.float32)
            c = (c - (h11 * g0 - h01 * g1) / det).astype(np.float32)
        out.append(np.stack([w, c - w * mean], 1))
    return np.concatenate(out)


def sklearn_part(arguments):
    rows, k, solver = arguments[:, :-2], int(arguments[0, -2]), SOLVERS[int(arguments[0, -1])]
    return np.stack([sklearn_fit(LOADED["x64"][:, s], LOADED["y"], solver) for s in rows[:, :k]])


SOLVERS = ["newton-cholesky", "lbfgs"]


def supports_sklearn(loaded, parameters):
    chosen = loaded["supports"][: parameters["items"]]
    tail = np.tile([parameters["k"], SOLVERS.index(parameters["solver"])], (len(chosen), 1))
    return each(sklearn_part, np.concatenate([chosen, tail], 1))


def newton_part(arguments):
    rows, k = arguments[:, :-1], int(arguments[0, -1])
    return np.stack([newton_float32(LOADED["x"][:, s], LOADED["y"]) for s in rows[:, :k]])


def supports_newton(loaded, parameters):
    chosen = loaded["supports"][: parameters["items"]]
    return each(newton_part, np.concatenate([chosen, np.full((len(chosen), 1), parameters["k"])], 1))


def supports_torch(loaded, parameters):
    from torch_newton import fit_supports

    return fit_supports(loaded, parameters["items"], parameters["k"], parameters["device"])


def supports_transformer_lens(loaded, parameters):
    from transformer_lens_probe import fit_supports

    return fit_supports(loaded, parameters["items"], parameters["k"])


def dense_sklearn(loaded, parameters):
    x, y = loaded["x"], loaded["y"]
    return sklearn_fit(x, y, "lbfgs", parameters["C"], parameters["tol"], parameters["max_iter"])


def dense_liblinear(loaded, parameters):
    """On centred X with a scaled intercept, so that liblinear's penalty on the intercept weighs next to nothing."""
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(
        penalty="l1",
        C=parameters["C"],
        class_weight="balanced",
        solver="liblinear",
        intercept_scaling=1000,
        random_state=0,
    ).fit(loaded["x"], loaded["y"])
    w = fit.coef_[0]
    return np.append(w, fit.intercept_[0] - w @ loaded["mean"])


def neurons_sklearn_part(neurons):
    x, y = LOADED["x"], LOADED["y"]
    return np.stack([sklearn_fit(x[:, j : j + 1].astype(np.float64), y, "newton-cholesky") for j in neurons])


def neurons_sklearn(loaded, parameters):
    return each(neurons_sklearn_part, np.arange(parameters["items"]))


def neurons_newton_part(neurons):
    return newton_columns(LOADED["x"][:, neurons[0] : neurons[-1] + 1], LOADED["y"])


def neurons_newton(loaded, parameters):
    return each(neurons_newton_part, np.arange(parameters["items"]))


def neurons_torch(loaded, parameters):
    from torch_newton import fit_neurons

    return fit_neurons(loaded, parameters["items"], parameters["device"])


def neurons_auc_sklearn_part(neurons):
    from sklearn.metrics import roc_auc_score

    return np.array([roc_auc_score(LOADED["y"], LOADED["x"][:, j]) for j in neurons])


def neurons_auc_sklearn(loaded, parameters):
    return each(neurons_auc_sklearn_part, np.arange(parameters["items"]))


def neurons_auc_numpy_part(neurons):
    x, y = LOADED["x"], LOADED["y"]
    n, n1 = len(y), int(y.sum())
    out = []
    for j in neurons:
        order = np.argsort(x[:, j])
        values = x[order, j]
        # Rows of equal value count together: only the last of each counts.
        last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
        positives = np.append(0, np.cumsum(y[order])[last])
        negatives = np.append(0, last + 1) - positives
        area = (np.diff(positives) * (negatives[:-1] + negatives[1:])).sum() / 2 / (n1 * (n - n1))
        informedness = negatives[:-1] / (n - n1) - positives[:-1] / n1
        out.append((area, informedness[np.argmax(np.abs(informedness))]))
    return np.array(out)


def neurons_auc_numpy(loaded, parameters):
    """Rows (area, best TPR − FPR) by sorting."""
    return each(neurons_auc_numpy_part, np.arange(parameters["items"]))


TASKS = {
    "supports_sklearn": supports_sklearn,
    "supports_newton": supports_newton,
    "supports_torch": supports_torch,
    "supports_transformer_lens": supports_transformer_lens,
    "dense_sklearn": dense_sklearn,
    "dense_liblinear": dense_liblinear,
    "neurons_sklearn": neurons_sklearn,
    "neurons_newton": neurons_newton,
    "neurons_torch": neurons_torch,
    "neurons_auc_sklearn": neurons_auc_sklearn,
    "neurons_auc_numpy": neurons_auc_numpy,
}
