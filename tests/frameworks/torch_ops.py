# SPDX-License-Identifier: Apache-2.0
"""Operations of PyTorch on a CUDA device against the same on the CPU: one TAP line each.

Random numbers differ between the two by design; for them the test is that a seed repeats and that their moments are right.
"""
import sys

import torch
import torch.nn.functional as F

torch.backends.cudnn.enabled = False  # its kernels have no PTX
torch.set_num_threads(1)
tests = []


def op(name, f, *shapes, close=1e-5, dtype=torch.float32, grad=False):
    tests.append((name, f, shapes, close, dtype, grad))


def make(shape, i, dtype):
    g = torch.Generator().manual_seed(i + 1)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=g, dtype=torch.float32).to(dtype)
    return torch.randint(-20, 20, shape, generator=g, dtype=dtype)


# Elementwise
for n in ("exp", "log1p", "sin", "tanh", "sigmoid", "erf", "floor", "abs", "neg", "relu", "sqrt", "rsqrt", "sign"):
    op(n, lambda x, n=n: getattr(torch, n)(x.abs() if n in ("log1p", "sqrt", "rsqrt") else x), (37, 53))
for t in (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64):
    op(f"a*b+a {t}", lambda a, b: a * b + a, (1001,), (1001,), dtype=t, close=0.02 if t.itemsize == 2 else 1e-6)
op("pow", lambda x: x.abs() ** 2.5, (100,))
op("broadcast", lambda a, b: a[:, None] - b[None, :], (40,), (33,))
op("where", lambda a, b: torch.where(a > b, a, b * 2), (500,), (500,))
op("clamp", lambda a: a.clamp(-0.5, 0.5), (500,))
op("cast", lambda a: (a * 10).to(torch.int32).to(torch.float16).float(), (500,))
op("fmod, remainder", lambda a, b: torch.fmod(a, b) + torch.remainder(a, b), (300,), (300,))
op("complex", lambda a, b: torch.view_as_real(torch.complex(a, b) * torch.complex(b, a)), (100,), (100,))
op("bitwise", lambda a, b: (a & b) | (a ^ 3) << 2, (100,), (100,), dtype=torch.int32)
# Reductions
op("sum", lambda a: a.sum(), (10001,), close=1e-4)
op("sum of rows", lambda a: a.sum(1), (67, 301), close=1e-4)
op("sum of columns", lambda a: a.sum(0), (301, 67), close=1e-4)
op("mean, var", lambda a: torch.stack([a.mean(), a.var(), a.std()]), (4000,), close=1e-4)
op("max, argmax", lambda a: a.max(1).values + a.argmax(1), (40, 77))
op("min of all", lambda a: a.min(), (5000,))
op("prod", lambda a: (1 + a / 100).prod(), (200,))
op("any, all", lambda a: torch.stack([(a > 1).any(), (a > -9).all()]).float(), (300,))
op("norm", lambda a: a.norm(), (999,), close=1e-4)
op("logsumexp", lambda a: a.logsumexp(1), (30, 50))
op("cumsum", lambda a: a.cumsum(1), (20, 300), close=1e-4)
op("cumprod", lambda a: (1 + a / 50).cumprod(0), (50, 20))
# Sorting and indexing
op("sort", lambda a: a.sort(1).values, (11, 700))
op("sort of long rows", lambda a: a.sort().values, (5000,))
op("topk", lambda a: a.topk(7).values, (13, 200))
op("gather", lambda a: a.gather(1, (a.abs() * 10).long() % 50), (20, 50))
op("scatter_add", lambda a: torch.zeros(20, 50, device=a.device).scatter_add(1, (a.abs() * 10).long() % 50, a), (20, 50), close=1e-4)
op("index_select", lambda a: a.index_select(0, torch.arange(19, -1, -2, device=a.device)), (20, 50))
op("a[mask]", lambda a: a[a > 0.3], (600,))
op("a[index]", lambda a: a[torch.tensor([3, 1, 4, 1], device=a.device), 2:40:3], (20, 50))
op("index_put", lambda a: a.index_put((torch.tensor([3, 1, 4], device=a.device),), a[5:8]), (20, 50))
op("nonzero", lambda a: (a > 1).nonzero(), (30, 30))
op("unique", lambda a: a.unique(), (800,), dtype=torch.int64)
op("cat, stack, flip, roll", lambda a, b: torch.stack([torch.cat([a, b]).flip(0), torch.cat([b, a]).roll(3, 0)]), (20, 9), (14, 9))
op("transpose copy", lambda a: a.permute(2, 0, 1).contiguous(), (13, 17, 19))
op("tril, triu", lambda a: a.tril() + a.triu(2), (40, 40))
op("arange, linspace, eye", lambda a: torch.arange(0, 50, 1, device=a.device) + torch.linspace(0, 1, 50, device=a.device) * torch.eye(50, device=a.device)[3] + a, (50,))
op("histc, bincount", lambda a: torch.bincount((a.abs() * 10).long(), minlength=64)[:64] + a.histc(64, -3, 3), (3000,), close=2.1)
op("searchsorted", lambda a: torch.searchsorted(a.sort().values, torch.linspace(-1, 1, 20, device=a.device)), (300,))
# Linear algebra
op("matmul", lambda a, b: a @ b, (65, 40), (40, 70), close=1e-4)
op("batched matmul", lambda a, b: a @ b, (5, 33, 20), (5, 20, 31), close=1e-4)
op("einsum", lambda a, b: torch.einsum("bij,bkj->bik", a, b), (3, 20, 30), (3, 25, 30), close=1e-4)
op("matmul f16", lambda a, b: a @ b, (64, 32), (32, 64), dtype=torch.float16, close=0.02)
op("matmul bf16", lambda a, b: a @ b, (64, 32), (32, 64), dtype=torch.bfloat16, close=0.05)
op("matmul f64", lambda a, b: a @ b, (30, 32), (32, 34), dtype=torch.float64, close=1e-10)
op("outer, dot, mv", lambda a, b: torch.outer(a, b) @ a + a.dot(b), (60,), (60,), close=1e-4)
# Networks, forward and backward
op("linear", lambda x, w, b: F.linear(x, w, b), (16, 30), (20, 30), (20,), close=1e-4, grad=True)
op("conv2d", lambda x, w: F.conv2d(x, w, padding=1), (2, 3, 14, 14), (5, 3, 3, 3), close=1e-4, grad=True)
op("conv2d strided, grouped", lambda x, w: F.conv2d(x, w, stride=2, groups=2), (2, 4, 15, 15), (6, 2, 3, 3), close=1e-4, grad=True)
op("conv1d", lambda x, w: F.conv1d(x, w), (2, 3, 40), (5, 3, 5), close=1e-4, grad=True)
op("conv_transpose2d", lambda x, w: F.conv_transpose2d(x, w, stride=2), (2, 3, 7, 7), (3, 4, 3, 3), close=1e-4, grad=True)
op("batch_norm", lambda x: F.batch_norm(x, None, None, training=True), (6, 5, 8, 8), close=1e-4, grad=True)
op("layer_norm", lambda x: F.layer_norm(x, (40,)), (9, 40), close=1e-4, grad=True)
op("group_norm", lambda x: F.group_norm(x, 2), (3, 6, 5, 5), close=1e-4, grad=True)
op("max_pool2d", lambda x: F.max_pool2d(x, 2), (2, 3, 12, 12), grad=True)
op("avg_pool2d", lambda x: F.avg_pool2d(x, 3, 2), (2, 3, 13, 13), grad=True)
op("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 3), (2, 3, 10, 10), grad=True)
op("interpolate", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 2, 6, 6), grad=True)
op("softmax", lambda x: F.softmax(x, 1), (20, 55), grad=True)
op("log_softmax of long rows", lambda x: F.log_softmax(x, 1), (3, 2500), close=1e-4, grad=True)
op("gelu, silu, elu", lambda x: F.gelu(x) + F.silu(x) + F.elu(x) + F.leaky_relu(x), (400,), grad=True)
op("cross_entropy", lambda x: F.cross_entropy(x, torch.arange(20, device=x.device) % 7), (20, 7), grad=True)
op("mse, l1, bce", lambda x, y: F.mse_loss(x, y) + F.smooth_l1_loss(x, y) + F.binary_cross_entropy_with_logits(x, y.sigmoid()), (300,), (300,), grad=True)
op("embedding", lambda w: F.embedding(torch.tensor([[1, 2, 3], [3, 2, 9]], device=w.device), w), (10, 16), grad=True)
op("attention, exact", lambda q, k, v: (q @ k.transpose(-1, -2) / 4).softmax(-1) @ v, (2, 3, 10, 16), (2, 3, 12, 16), (2, 3, 12, 16), close=1e-4, grad=True)
op("attention, fused", lambda q, k, v: F.scaled_dot_product_attention(q, k, v), (2, 3, 10, 16), (2, 3, 12, 16), (2, 3, 12, 16), close=1e-4, grad=True)
op("attention, f16", lambda q, k, v: F.scaled_dot_product_attention(q, k, v), (2, 3, 16, 16), (2, 3, 16, 16), (2, 3, 16, 16), close=0.02, dtype=torch.float16)
op("fft", lambda a: torch.view_as_real(torch.fft.fft(a)), (64,), close=1e-4)
op("lstm cell", lambda x, h, c, wi, wh: torch.cat(torch._VF.lstm_cell(x, (h, c), wi, wh)), (4, 10), (4, 8), (4, 8), (32, 10), (32, 8), close=1e-4)


def run(f, shapes, dtype, grad, device):
    xs = [make(s, i, dtype).to(device).requires_grad_(grad) for i, s in enumerate(shapes)]
    out = f(*xs)
    outs = [out.detach()]
    if grad:
        g = make(out.shape, 99, dtype).to(device)
        outs += torch.autograd.grad(out, xs, g)
    return [o.cpu().double() for o in outs]


def compare(name, f, shapes, close, dtype, grad):
    try:
        got = run(f, shapes, dtype, grad, "cuda")
    except Exception as e:
        return False, str(e).splitlines()[0]
    want = run(f, shapes, dtype, grad, "cpu")
    worst = max((float((g - w).abs().max() / max(1.0, float(w.abs().max()))) if g.numel() else 0.0) if g.shape == w.shape
                else float("inf") for g, w in zip(got, want))
    return worst <= close, f"differs by {worst:.3g}"


def random_numbers():
    torch.manual_seed(5)
    a = [torch.rand(4000, device="cuda"), torch.randn(4000, device="cuda"), torch.randint(0, 10, (4000,), device="cuda").float(),
         F.dropout(torch.ones(4000, device="cuda"), 0.25), torch.randperm(500, device="cuda").float(),
         torch.empty(4000, device="cuda").exponential_(), torch.bernoulli(torch.full((4000,), 0.3, device="cuda")),
         torch.multinomial(torch.ones(8, device="cuda"), 4000, replacement=True).float()]
    torch.manual_seed(5)
    again = torch.rand(4000, device="cuda")
    want = [0.5, 0.0, 4.5, 1.0, 249.5, 1.0, 0.3, 3.5]
    off = [abs(float(x.mean()) - w) / max(1.0, w) for x, w in zip(a, want)]
    return bool((a[0] == again).all()) and max(off) < 0.06 and len(set(a[4].tolist())) == 500, f"means are off by {off}"


def main():
    if not torch.cuda.is_available():
        print("1..0 # SKIP no CUDA device")
        return 0
    only, failed = sys.argv[1:], 0
    todo = [(t[0], lambda t=t: compare(*t)) for t in tests] + [("random numbers", random_numbers)]
    todo = [t for t in todo if not only or t[0] in only]
    for i, (name, f) in enumerate(todo):
        good, why = f()
        failed += not good
        print(f"{'ok' if good else 'not ok'} {i + 1} - {name}" + ("" if good else f"\n# {why}"), flush=True)
    print(f"1..{len(todo)}")
    return failed != 0


sys.exit(main())
