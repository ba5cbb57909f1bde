# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's libraries as CuPy uses them, against NumPy: a table of what is right, wrong or refused on a device.

    cupy_libraries.py [cuFFT|cuRAND|cuSPARSE|cuSOLVER|NCCL]...

Their PTX, where they have any, is of compute capability 12.1, so a soft device must have that.
"""
import sys
import warnings

import cupy as cp
import cupyx.scipy.sparse as sparse
import cupyx.scipy.sparse.linalg as sparse_linalg
import numpy as np

warnings.filterwarnings("ignore")
rows = np.random.RandomState(0)


def close(got, want, tolerance=1e-3):
    return np.allclose(cp.asnumpy(got), want, rtol=tolerance, atol=tolerance)


def fft():
    for n in (64, 97, 100, 1000, 1024):
        x = rows.randn(n) + 1j * rows.randn(n)
        yield f"{n} points, f32", lambda x=x: close(cp.fft.fft(cp.asarray(x.astype("F"))), np.fft.fft(x))
        yield f"{n} points, f64", lambda x=x: close(cp.fft.fft(cp.asarray(x)), np.fft.fft(x))
    x = rows.randn(32, 48)
    yield "real, 2-D", lambda: close(cp.fft.rfft2(cp.asarray(x)), np.fft.rfft2(x))
    yield "real and back, 2-D", lambda: close(cp.fft.irfft2(cp.fft.rfft2(cp.asarray(x))), x)
    yield "3-D", lambda: close(cp.fft.fftn(cp.asarray(x.reshape(8, 12, 16))), np.fft.fftn(x.reshape(8, 12, 16)))


def generator(name):
    r = cp.random.RandomState(1, method=getattr(cp.cuda.curand, "CURAND_RNG_PSEUDO_" + name))
    return abs(float(r.random_sample(5000).mean()) - 0.5) < 0.03 and abs(float(r.standard_normal(5000).std()) - 1) < 0.05


def random():
    for name in ("XORWOW", "MRG32K3A", "PHILOX4_32_10", "MTGP32"):
        yield name, lambda name=name: generator(name)


def sparse_products():
    a = (rows.rand(40, 40) < 0.1) * rows.randn(40, 40) + np.eye(40) * 4
    v = rows.randn(40)
    for t in ("f", "d"):
        def m(t=t):
            return sparse.csr_matrix(cp.asarray(a.astype(t)))
        yield f"matrix by vector, {t}", lambda m=m, t=t: close(m() @ cp.asarray(v.astype(t)), a @ v)
        yield f"matrix by matrix, {t}", lambda m=m, t=t: close(m() @ cp.asarray(a.astype(t)), a @ a)
        yield f"sparse by sparse, {t}", lambda m=m: close((m() @ m()).toarray(), a @ a)
        yield f"sums and formats, {t}", lambda m=m: close((m() + m().tocsc().tocsr()).tocoo().toarray(), 2 * a)
        yield f"triangular solve, {t}", lambda t=t: close(sparse_linalg.spsolve_triangular(
            sparse.csr_matrix(cp.asarray(np.tril(a).astype(t))), cp.asarray(v.astype(t))), np.linalg.solve(np.tril(a), v))


def solver():
    b = rows.randn(40, 40)
    b = b + b.T + np.eye(40) * 20
    v = rows.randn(40)
    for t in ("f", "d"):
        x = b.astype(t)
        yield f"solve, {t}", lambda x=x, t=t: close(cp.linalg.solve(cp.asarray(x), cp.asarray(v.astype(t))), np.linalg.solve(b, v))
        yield f"inverse, {t}", lambda x=x: close(cp.linalg.inv(cp.asarray(x)), np.linalg.inv(b))
        yield f"Cholesky, {t}", lambda x=x: close(cp.linalg.cholesky(cp.asarray(x)), np.linalg.cholesky(b))
        yield f"QR, {t}", lambda x=x: close(abs(cp.linalg.qr(cp.asarray(x))[1]), abs(np.linalg.qr(b)[1]))
        yield f"singular values, {t}", lambda x=x: close(cp.linalg.svd(cp.asarray(x), compute_uv=False), np.linalg.svd(b, compute_uv=False))
        yield f"eigenvalues, {t}", lambda x=x: close(cp.linalg.eigvalsh(cp.asarray(x)), np.linalg.eigvalsh(b))


def reduce_all(devices):
    from cupy.cuda import nccl
    parts, comms = [], nccl.NcclCommunicator.initAll(list(range(devices)))
    for i in range(devices):
        with cp.cuda.Device(i):
            parts.append((cp.arange(1000, dtype="f") * (i + 1), cp.zeros(1000, "f")))
    nccl.groupStart()
    for i, (a, b) in enumerate(parts):
        with cp.cuda.Device(i):
            comms[i].allReduce(a.data.ptr, b.data.ptr, 1000, nccl.NCCL_FLOAT, nccl.NCCL_SUM, cp.cuda.Stream.null.ptr)
    nccl.groupEnd()
    for i in range(devices):
        with cp.cuda.Device(i):
            cp.cuda.Stream.null.synchronize()
    return all(close(b, np.arange(1000) * (devices * (devices + 1) // 2)) for _, b in parts)


def together():
    for n in range(1, cp.cuda.runtime.getDeviceCount() + 1):
        yield f"sum over {n} devices", lambda n=n: reduce_all(n)


def main():
    parts = {"cuFFT": fft, "cuRAND": random, "cuSPARSE": sparse_products, "cuSOLVER": solver, "NCCL": together}
    wrong = 0
    for library in sys.argv[1:] or parts:
        for what, f in parts[library]():
            try:
                outcome = "right" if f() else "wrong"
            except Exception as e:
                outcome = f"refused: {type(e).__name__} {(str(e).strip().splitlines() or [''])[-1]}"
            wrong += outcome == "wrong"
            print(f"| {library} | {what} | {outcome} |", flush=True)
    return wrong != 0


sys.exit(main())
