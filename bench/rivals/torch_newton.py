"""Many small probes at once in PyTorch, on the CPU or on a GPU: Newton in float32 in batches, the systems in float64.

Versions: requirements.txt. X stays where it is computed on, as ours does.
"""

import numpy as np
import torch

# Numbers of a batch's columns: they fit a CPU's cache, or keep a GPU busy.
VALUES = {"cpu": 2**20, "cuda": 2**29}


def on(loaded, device):
    """X as it is used, the labels and the row weights, on the device."""
    if device not in loaded["tensors"]:
        torch.backends.cuda.matmul.allow_tf32 = False
        y = loaded["y"]
        n, n1 = len(y), int(y.sum())
        weights = np.where(y == 1, n / (2 * n1), n / (2 * (n - n1))).astype(np.float32)
        x = loaded["x"].T if "supports" in loaded else loaded["x"]
        loaded["tensors"][device] = tuple(
            torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in (x, y.astype(np.float32), weights)
        )
    return loaded["tensors"][device]


def newton_batch(z, y, s, steps=30):
    """Fits of centred columns z [batch, k, n]: theta [batch, k + 1] in float64."""
    batch, k, n = z.shape
    theta = torch.zeros((batch, k + 1), dtype=torch.float64, device=z.device)
    hessian = torch.empty((batch, k + 1, k + 1), dtype=torch.float64, device=z.device)
    ridge = torch.eye(k, device=z.device)
    for _ in range(steps):
        t = theta.float()
        p = torch.sigmoid((t[:, None, :k] @ z)[:, 0] + t[:, k:])
        r = s * (p - y)
        gradient = torch.cat([(z @ r[:, :, None])[:, :, 0] + t[:, :k], r.sum(1, keepdim=True)], 1).double()
        zd = z * (s * p * (1 - p))[:, None]
        hessian[:, :k, :k] = zd @ z.transpose(1, 2) + ridge
        hessian[:, :k, k] = hessian[:, k, :k] = zd.sum(2)
        hessian[:, k, k] = (s * p * (1 - p)).sum(1)
        step = torch.linalg.solve(hessian, gradient)
        theta -= step
        if bool(((gradient * step).sum(1) <= 1e-9 * 2 * n).all()):
            break
    return theta


def fit_supports(loaded, items, k, device):
    x, y, s = on(loaded, device)
    chosen = torch.from_numpy(loaded["supports"][:items, :k].astype(np.int64)).to(device)
    batch = max(1, VALUES[device] // (k * x.shape[1]))
    out = []
    for start in range(0, items, batch):
        z = x[chosen[start : start + batch]]
        centre = z.mean(2, keepdim=True)
        theta = newton_batch(z - centre, y, s)
        theta[:, k] -= (theta[:, :k] * centre[:, :, 0]).sum(1)
        out.append(theta)
    return torch.cat(out).cpu().numpy()


def fit_neurons(loaded, items, device):
    """One probe per column: two unknowns each, so the system is solved by hand."""
    x, y, s = on(loaded, device)
    y, s = y[:, None], s[:, None]
    batch = max(1, VALUES[device] // len(x))
    out = []
    for start in range(0, items, batch):
        b = x[:, start : min(start + batch, items)]
        mean = b.mean(0)
        b = b - mean
        w = torch.zeros(b.shape[1], device=b.device)
        c = torch.zeros_like(w)
        for _ in range(5):
            p = torch.sigmoid(b * w + c)
            r = s * (p - y)
            d = s * p * (1 - p)
            db = d * b
            g0, g1 = r.sum(0), (r * b).sum(0) + w
            h00, h01, h11 = d.sum(0), db.sum(0), (db * b).sum(0) + 1
            det = h00 * h11 - h01 * h01
            w, c = w - (h00 * g1 - h01 * g0) / det, c - (h11 * g0 - h01 * g1) / det
        out.append(torch.stack([w, c - w * mean], 1))
    return torch.cat(out).cpu().numpy()
