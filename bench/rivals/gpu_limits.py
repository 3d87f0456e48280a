"""What the GPU can do, through PyTorch: device-to-device copies and float32 products. Versions: requirements.txt."""

import time


def load(parameters):
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    return torch, parameters["bytes"]


def best_seconds(torch, call, tries=7, calls=8):
    """Of one call, from runs of several in a row."""
    best = float("inf")
    for _ in range(tries + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def limits(loaded, parameters):
    torch, size = loaded
    source = torch.ones(size // 4, device="cuda")
    target = torch.empty_like(source)
    copy = best_seconds(torch, lambda: target.copy_(source))
    a = torch.randn(8192, 8192, device="cuda")
    multiply = best_seconds(torch, lambda: torch.mm(a, a), 3, 2)
    # Bytes are read once and written once.
    return {"copy": 2 * size / copy / 1e9, "multiply": 2 * 8192**3 / multiply / 1e9}


TASKS = {"limits": limits}
