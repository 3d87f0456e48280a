"""Logistic regression for J2, J3 and J4. Versions: requirements.txt.

Objective: C·Σ ω·log(1 + exp(−s(x·w + b))) + ½|w|², balanced ω, intercept without penalty. Results: rows (w, b).
"""

import numpy as np


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


def load(parameters):
    y = np.load(parameters["labels"])[0].astype(np.int64)
    if "supports" in parameters:
        # In the rivals' favour: their columns lie ready, contiguous. Indexing X itself costs them up to twice as much.
        pool = np.load(parameters["pool"])
        x = np.asfortranarray(np.load(parameters["x"], mmap_mode="r")[:, pool])
        wide = np.asfortranarray(x.astype(np.float64))
        return {"x": x, "x64": wide, "y": y, "supports": np.load(parameters["supports"])}
    x = np.load(parameters["x"])
    if "columns" in parameters:
        x = np.ascontiguousarray(x[:, : parameters["columns"]])
    return {"x": x, "y": y}


def supports_sklearn(loaded, parameters):
    x, y = loaded["x64"], loaded["y"]
    chosen = loaded["supports"][: parameters["items"], : parameters["k"]]
    return np.stack([sklearn_fit(x[:, s], y, parameters["solver"]) for s in chosen])


def supports_newton(loaded, parameters):
    x, y = loaded["x"], loaded["y"]
    chosen = loaded["supports"][: parameters["items"], : parameters["k"]]
    return np.stack([newton_float32(x[:, s], y) for s in chosen])


def dense_sklearn(loaded, parameters):
    x, y = loaded["x"], loaded["y"]
    return sklearn_fit(x, y, "lbfgs", parameters["C"], 1e-4, parameters["max_iter"])


def neurons_sklearn(loaded, parameters):
    x, y = loaded["x"], loaded["y"]
    return np.stack(
        [sklearn_fit(x[:, j : j + 1].astype(np.float64), y, "newton-cholesky") for j in range(parameters["items"])]
    )


def neurons_newton(loaded, parameters):
    return newton_columns(loaded["x"][:, : parameters["items"]], loaded["y"])


def neurons_auc_sklearn(loaded, parameters):
    from sklearn.metrics import roc_auc_score

    return np.array([roc_auc_score(loaded["y"], loaded["x"][:, j]) for j in range(parameters["items"])])


def neurons_auc_numpy(loaded, parameters):
    """Area and best threshold by sorting; exact without ties."""
    x, y = loaded["x"], loaded["y"]
    n, n1 = len(y), int(y.sum())
    out = []
    for j in range(parameters["items"]):
        order = np.argsort(x[:, j])
        positives = np.cumsum(y[order])
        negatives = np.arange(1, n + 1) - positives
        out.append(1 - (positives * np.diff(negatives, prepend=0)).sum() / (n1 * (n - n1)))
        np.argmax(np.abs(positives / n1 - negatives / (n - n1)))
    return np.array(out)


TASKS = {
    "supports_sklearn": supports_sklearn,
    "supports_newton": supports_newton,
    "dense_sklearn": dense_sklearn,
    "neurons_sklearn": neurons_sklearn,
    "neurons_newton": neurons_newton,
    "neurons_auc_sklearn": neurons_auc_sklearn,
    "neurons_auc_numpy": neurons_auc_numpy,
}
