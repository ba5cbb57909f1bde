# SPDX-License-Identifier: Apache-2.0
"""Operations of CuPy on a CUDA device against NumPy: one TAP line each.

CuPy must be told to compile to PTX (CUPY_COMPILE_WITH_PTX=1), as a soft device runs nothing else.
"""
import sys

import cupy as cp
import numpy as np

tests = []


def op(name, f, *shapes, close=1e-5, dtype=np.float32):
    tests.append((name, f, shapes, close, dtype))


def make(shape, i, dtype):
    r = np.random.RandomState(i + 1)
    if np.dtype(dtype).kind == "f":
        return r.standard_normal(shape).astype(dtype)
    return r.randint(-20, 20, shape).astype(dtype)


for n in ("exp", "sin", "tanh", "floor", "absolute", "negative", "square", "cbrt", "arctan", "sign"):
    op(n, lambda xp, a, n=n: getattr(xp, n)(a), (37, 53))
for t in (np.float64, np.float16, np.int32, np.int64, np.uint8):
    op(f"a*b+a {np.dtype(t).name}", lambda xp, a, b: a * b + a, (1001,), (1001,), dtype=t, close=0.01 if t == np.float16 else 1e-6)
op("sqrt, log", lambda xp, a: xp.sqrt(abs(a)) + xp.log1p(abs(a)), (500,))
op("power", lambda xp, a: abs(a) ** 2.5, (100,))
op("broadcast", lambda xp, a, b: a[:, None] - b[None, :], (40,), (33,))
op("where, clip", lambda xp, a, b: xp.where(a > b, a, xp.clip(b, -0.5, 0.5)), (500,), (500,))
op("astype", lambda xp, a: (a * 10).astype(np.int32).astype(np.float64), (500,))
op("complex", lambda xp, a, b: abs((a + 1j * b) ** 2), (100,), (100,), close=1e-4)
op("sum", lambda xp, a: a.sum(), (10001,), close=1e-4)
op("sum of rows", lambda xp, a: a.sum(1), (67, 301), close=1e-4)
op("sum of columns", lambda xp, a: a.sum(0), (301, 67), close=1e-4)
op("mean, var", lambda xp, a: xp.stack([a.mean(), a.var(), a.std()]), (4000,), close=1e-4)
op("max, argmax", lambda xp, a: a.max(1) + a.argmax(1), (40, 77))
op("prod, any, all", lambda xp, a: xp.stack([(1 + a / 100).prod(), (a > 1).any().astype("f"), (a > -9).all().astype("f")]), (200,))
op("norm", lambda xp, a: xp.linalg.norm(a), (999,), close=1e-4)
op("cumsum", lambda xp, a: a.cumsum(), (3000,), close=1e-4)
op("cumsum of rows", lambda xp, a: a.cumsum(1), (20, 300), close=1e-4)
op("histogram, bincount", lambda xp, a: xp.histogram(a, 20, (-3, 3))[0] + xp.bincount((abs(a) * 3).astype("i"), minlength=20)[:20], (3000,))
op("percentile, median", lambda xp, a: xp.stack([xp.percentile(a, 30), xp.median(a)]), (901,))
op("sort", lambda xp, a: xp.sort(a, 1), (11, 700))
op("argsort", lambda xp, a: a[xp.argsort(a)], (5000,))
op("unique", lambda xp, a: xp.unique(a), (800,), dtype=np.int64)
op("searchsorted", lambda xp, a: xp.searchsorted(xp.sort(a), xp.linspace(-1, 1, 20)), (300,))
op("a[mask]", lambda xp, a: a[a > 0.3], (600,))
op("a[index]", lambda xp, a: a[xp.array([3, 1, 4, 1]), 2:6], (20, 50))
op("take, put", lambda xp, a: xp.take(a, xp.arange(19, -1, -2), axis=0), (20, 50))
op("nonzero", lambda xp, a: xp.stack(xp.nonzero(a > 1)), (30, 30))
op("concatenate, flip, roll", lambda xp, a, b: xp.roll(xp.flip(xp.concatenate([a, b])), 3), (20, 9), (14, 9))
op("transpose copy", lambda xp, a: xp.ascontiguousarray(a.transpose(2, 0, 1)), (13, 17, 19))
op("arange, linspace, eye", lambda xp, a: xp.arange(50) + xp.linspace(0, 1, 50) * xp.eye(50)[3] + a, (50,))
op("matmul", lambda xp, a, b: a @ b, (65, 40), (40, 70), close=1e-4)
op("matmul f64", lambda xp, a, b: a @ b, (65, 40), (40, 70), dtype=np.float64, close=1e-10)
op("matmul f16", lambda xp, a, b: a @ b, (33, 40), (40, 35), dtype=np.float16, close=0.02)
op("batched matmul", lambda xp, a, b: a @ b, (5, 33, 20), (5, 20, 31), close=1e-4)
op("dot, outer, mv", lambda xp, a, b: xp.outer(a, b) @ a + a.dot(b), (60,), (60,), close=1e-4)
op("tensordot, einsum", lambda xp, a, b: xp.einsum("bij,bkj->bik", a, b), (3, 20, 30), (3, 25, 30), close=1e-4)
op("fft", lambda xp, a: abs(xp.fft.fft(a)), (64,), close=1e-4)


def compare(name, f, shapes, close, dtype):
    xs = [make(s, i, dtype) for i, s in enumerate(shapes)]
    try:
        got = cp.asnumpy(f(cp, *[cp.asarray(x) for x in xs]))
    except Exception as e:
        return False, f"{type(e).__name__}: {str(e).strip().splitlines()[-1] if str(e).strip() else ''}"
    with np.errstate(all="ignore"):
        want = np.asarray(f(np, *xs))
    if got.shape != want.shape:
        return False, f"shape {got.shape}, not {want.shape}"
    worst = float(np.max(np.abs(got.astype(np.float64) - want.astype(np.float64)) / max(1.0, float(np.max(np.abs(want)))))) if got.size else 0
    return worst <= close, f"differs by {worst:.3g}"


def raw_kernel():
    k = cp.RawKernel(r"""
extern "C" __global__ void tile(const float *a, float *out, int n)
{
	__shared__ float s[128];
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	s[threadIdx.x] = i < n ? a[i] : 0;
	__syncthreads();
	for (int k = 64; k; k >>= 1) {
		if (threadIdx.x < k)
			s[threadIdx.x] += s[threadIdx.x + k];
		__syncthreads();
	}
	if (!threadIdx.x)
		atomicAdd(out, s[0]);
}""", "tile")
    a, out = cp.arange(1000, dtype=cp.float32), cp.zeros(1, cp.float32)
    k((8,), (128,), (a, out, cp.int32(1000)))
    return float(out[0]) == 499500.0, f"{float(out[0])}"


def own_kernels():
    e = cp.ElementwiseKernel("float32 x, float32 y", "float32 z", "z = (x - y) * (x - y)", "squared")
    r = cp.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "length")
    x = np.arange(100, dtype=np.float32)
    got = float(r(e(cp.asarray(x), cp.float32(3))))
    want = float(np.sqrt((((x - 3) ** 2) ** 2).sum()))
    return abs(got - want) < 1e-3 * want, f"{got} {want}"


def random_numbers():
    r = cp.random.default_rng(5)
    a = [r.random(4000), r.standard_normal(4000), r.integers(0, 10, 4000), r.exponential(size=4000)]
    off = [abs(float(x.mean()) - w) for x, w in zip(a, (0.5, 0, 4.5, 1))]
    return max(off) < 0.15, f"means are off by {off}"


def streams():
    s, e0, e1 = cp.cuda.Stream(non_blocking=True), cp.cuda.Event(), cp.cuda.Event()
    with s:
        e0.record()
        a = cp.arange(5000, dtype=cp.float64)
        b = (a * 2).sum()
        e1.record()
    e1.synchronize()
    pool = cp.get_default_memory_pool()
    return float(b) == 24995000.0 and cp.cuda.get_elapsed_time(e0, e1) >= 0 and pool.used_bytes() > 0, f"{float(b)}"


def main():
    failed, only = 0, sys.argv[1:]
    todo = [(t[0], lambda t=t: compare(*t)) for t in tests]
    todo += [("RawKernel", raw_kernel), ("ElementwiseKernel, ReductionKernel", own_kernels), ("random numbers", random_numbers),
             ("streams, events, pools", streams)]
    todo = [t for t in todo if not only or t[0] in only]
    for i, (name, f) in enumerate(todo):
        try:
            good, why = f()
        except Exception as e:
            good, why = False, f"{type(e).__name__}: {str(e).strip().splitlines()[-1] if str(e).strip() else ''}"
        failed += not good
        print(f"{'ok' if good else 'not ok'} {i + 1} - {name}" + ("" if good else f"\n# {why}"), flush=True)
    print(f"1..{len(todo)}")
    return failed != 0


sys.exit(main())
