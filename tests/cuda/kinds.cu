// SPDX-License-Identifier: Apache-2.0
// What an ordinary CUDA program does, through the runtime: vector add, tiled product, double-precision stencil,
// streams and events, explicit and captured graphs, host functions, pool allocation, copies of every kind, printf,
// occupancy, eight threads. Prints a transcript without times or addresses; built in several ways by tests/run-cuda.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#define MUST(call)                                                                                        \
	do {                                                                                              \
		cudaError_t e_ = (call);                                                                  \
		if (e_ != cudaSuccess) {                                                                  \
			fflush(stdout);                                                                   \
			fprintf(stderr, "line %d: %s: %s\n", __LINE__, #call, cudaGetErrorString(e_));    \
			exit(1);                                                                          \
		}                                                                                         \
	} while (0)

static unsigned long long sum(const void *p, size_t n)
{
	const unsigned char *b = static_cast<const unsigned char *>(p);
	unsigned long long h = 0xcbf29ce484222325ull;

	while (n--)
		h = (h ^ *b++) * 0x100000001b3ull;
	return h;
}

template <typename T> static unsigned long long device_sum(const T *p, size_t n)
{
	std::vector<T> v(n);

	MUST(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
	return sum(v.data(), n * sizeof(T));
}

__global__ void vector_add(const float *a, const float *b, float *c, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		c[i] = a[i] + b[i];
}

__global__ void product(const float *a, const float *b, float *c, int n)
{
	__shared__ float ta[16][16], tb[16][16];
	int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
	float s = 0;

	for (int k = 0; k < n; k += 16) {
		ta[threadIdx.y][threadIdx.x] = a[y * n + k + threadIdx.x];
		tb[threadIdx.y][threadIdx.x] = b[(k + threadIdx.y) * n + x];
		__syncthreads();
		for (int i = 0; i < 16; i++)
			s += ta[threadIdx.y][i] * tb[i][threadIdx.x];
		__syncthreads();
	}
	c[y * n + x] = s;
}

__global__ void stencil(const double *in, double *out, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		out[i] = i && i < n - 1 ? 0.25 * in[i - 1] + 0.5 * in[i] + 0.25 * in[i + 1] : in[i];
}

__global__ void step(unsigned *p, int n, unsigned factor, unsigned add)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		p[i] = p[i] * factor + add;
}

__device__ unsigned total;
__constant__ unsigned weights[4];

__global__ void count(int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		atomicAdd(&total, weights[i & 3]);
}

__global__ void hello(int n)
{
	printf("block %d of %d: %d\n", blockIdx.x, gridDim.x, n);
}

#ifdef SEPARATE
extern __device__ unsigned elsewhere(unsigned x);
#else
static __device__ unsigned elsewhere(unsigned x)
{
	return x * 2654435761u + 1;
}
#endif

__global__ void call_out(unsigned *p, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		p[i] = elsewhere(i);
}

static void CUDART_CB tick(void *p)
{
	++*static_cast<int *>(p);
}

static void arithmetic()
{
	const int n = 10000, m = 64;
	std::vector<float> a(n), b(n);
	std::vector<double> d(n);
	float *da, *db, *dc;
	double *dd[2];

	for (int i = 0; i < n; i++) {
		a[i] = i * 0.5f;
		b[i] = 1.0f / (i + 1);
		d[i] = i % 101;
	}
	MUST(cudaMalloc(&da, n * 4));
	MUST(cudaMalloc(&db, n * 4));
	MUST(cudaMalloc(&dc, n * 4));
	MUST(cudaMemcpy(da, a.data(), n * 4, cudaMemcpyHostToDevice));
	MUST(cudaMemcpy(db, b.data(), n * 4, cudaMemcpyHostToDevice));
	vector_add<<<(n + 255) / 256, 256>>>(da, db, dc, n);
	MUST(cudaGetLastError());
	printf("vector add %016llx\n", device_sum(dc, n));
	product<<<dim3(m / 16, m / 16), dim3(16, 16)>>>(da, db, dc, m);
	printf("product %016llx\n", device_sum(dc, m * m));
	for (auto &p : dd)
		MUST(cudaMalloc(&p, n * 8));
	MUST(cudaMemcpy(dd[0], d.data(), n * 8, cudaMemcpyHostToDevice));
	for (int i = 0; i < 20; i++)
		stencil<<<(n + 127) / 128, 128>>>(dd[i & 1], dd[~i & 1], n);
	printf("stencil %016llx\n", device_sum(dd[0], n));
	unsigned w[4] = {1, 10, 100, 1000}, t = 0;
	MUST(cudaMemcpyToSymbol(weights, w, sizeof(w)));
	MUST(cudaMemcpyToSymbol(total, &t, sizeof(t)));
	count<<<10, 100>>>(1000);
	MUST(cudaMemcpyFromSymbol(&t, total, sizeof(t)));
	printf("symbols %u\n", t);
	call_out<<<10, 100>>>(reinterpret_cast<unsigned *>(da), 1000);
	printf("other unit %016llx\n", device_sum(reinterpret_cast<unsigned *>(da), 1000));
	for (void *p : {(void *)da, (void *)db, (void *)dc, (void *)dd[0], (void *)dd[1]})
		MUST(cudaFree(p));
}

static void streams()
{
	const int n = 5000;
	cudaStream_t s[3];
	cudaEvent_t e[3], begin, end;
	unsigned *p;
	float ms = -1;

	MUST(cudaMalloc(&p, n * 4));
	MUST(cudaEventCreate(&begin));
	MUST(cudaEventCreate(&end));
	for (int i = 0; i < 3; i++) {
		MUST(cudaStreamCreateWithFlags(&s[i], cudaStreamNonBlocking));
		MUST(cudaEventCreateWithFlags(&e[i], cudaEventDisableTiming));
	}
	MUST(cudaMemsetAsync(p, 1, n * 4, s[0]));
	MUST(cudaEventRecord(begin, s[0]));
	for (int k = 0; k < 30; k++) {
		step<<<(n + 255) / 256, 256, 0, s[k % 3]>>>(p, n, 3, k);
		MUST(cudaEventRecord(e[k % 3], s[k % 3]));
		MUST(cudaStreamWaitEvent(s[(k + 1) % 3], e[k % 3], 0));
	}
	MUST(cudaEventRecord(end, s[0]));
	MUST(cudaEventSynchronize(end));
	MUST(cudaEventElapsedTime(&ms, begin, end));
	printf("streams %016llx, elapsed %d, query %s\n", device_sum(p, n), ms >= 0, cudaGetErrorName(cudaStreamQuery(s[0])));
	MUST(cudaFree(p));
}

static void graphs()
{
	const int n = 3000;
	unsigned *p, *q, *host;
	int ticks = 0;
	cudaStream_t s, t;
	cudaEvent_t fork, join;
	cudaGraph_t g;
	cudaGraphExec_t x;

	MUST(cudaMalloc(&p, n * 4));
	MUST(cudaMalloc(&q, n * 4));
	MUST(cudaMallocHost(&host, 2 * n * 4));
	MUST(cudaStreamCreate(&s));
	MUST(cudaStreamCreate(&t));
	MUST(cudaEventCreate(&fork));
	MUST(cudaEventCreate(&join));
	MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
	MUST(cudaMemsetAsync(p, 2, n * 4, s));
	MUST(cudaEventRecord(fork, s));
	MUST(cudaStreamWaitEvent(t, fork, 0));
	MUST(cudaMemsetAsync(q, 3, n * 4, t));
	step<<<(n + 255) / 256, 256, 0, t>>>(q, n, 5, 1);
	step<<<(n + 255) / 256, 256, 0, s>>>(p, n, 7, 2);
	MUST(cudaEventRecord(join, t));
	MUST(cudaStreamWaitEvent(s, join, 0));
	MUST(cudaMemcpyAsync(host, p, n * 4, cudaMemcpyDeviceToHost, s));
	MUST(cudaMemcpyAsync(host + n, q, n * 4, cudaMemcpyDeviceToHost, s));
	MUST(cudaLaunchHostFunc(s, tick, &ticks));
	MUST(cudaStreamEndCapture(s, &g));
	MUST(cudaGraphInstantiate(&x, g, 0));
	for (int i = 0; i < 3; i++) {
		memset(host, 0, 2 * n * 4);
		MUST(cudaGraphLaunch(x, s));
		MUST(cudaStreamSynchronize(s));
		printf("captured %016llx ticks %d\n", sum(host, 2 * n * 4), ticks);
	}
	MUST(cudaGraphExecDestroy(x));
	MUST(cudaGraphDestroy(g));
	/* The same by hand. */
	cudaGraphNode_t node[3];
	cudaMemsetParams set = {};
	cudaKernelNodeParams k = {};
	int count = n;
	unsigned factor = 9, add = 4;
	void *args[] = {&p, &count, &factor, &add};

	set.dst = p, set.value = 6, set.elementSize = 4, set.width = n, set.height = 1;
	k.func = (void *)step, k.gridDim = dim3((n + 255) / 256), k.blockDim = dim3(256), k.kernelParams = args;
	MUST(cudaGraphCreate(&g, 0));
	MUST(cudaGraphAddMemsetNode(&node[0], g, nullptr, 0, &set));
	MUST(cudaGraphAddKernelNode(&node[1], g, &node[0], 1, &k));
	MUST(cudaGraphAddMemcpyNode1D(&node[2], g, &node[1], 1, host, p, n * 4, cudaMemcpyDeviceToHost));
	MUST(cudaGraphInstantiate(&x, g, 0));
	MUST(cudaGraphLaunch(x, s));
	MUST(cudaStreamSynchronize(s));
	printf("explicit %016llx\n", sum(host, n * 4));
	MUST(cudaGraphExecDestroy(x));
	MUST(cudaGraphDestroy(g));
	MUST(cudaFreeHost(host));
}

static void memory()
{
	const size_t w = 133, h = 37;
	std::vector<unsigned char> a(w * h), b(w * h);
	unsigned char *pinned, *flat;
	size_t pitch;
	void *p, *r;
	cudaStream_t s;

	for (size_t i = 0; i < a.size(); i++)
		a[i] = i * 7;
	MUST(cudaStreamCreate(&s));
	MUST(cudaMallocHost(&pinned, w * h));
	MUST(cudaMallocPitch(&p, &pitch, w, h));
	MUST(cudaMemcpy2D(p, pitch, a.data(), w, w, h, cudaMemcpyHostToDevice));
	MUST(cudaMemset2D(p, pitch, 9, 5, 3));
	MUST(cudaMemcpy2DAsync(pinned, w, p, pitch, w, h, cudaMemcpyDeviceToHost, s));
	MUST(cudaStreamSynchronize(s));
	printf("2D %016llx\n", sum(pinned, w * h));
	cudaPitchedPtr box;
	cudaMemcpy3DParms c = {};
	MUST(cudaMalloc3D(&box, make_cudaExtent(w, 9, 4)));
	c.srcPtr = make_cudaPitchedPtr(a.data(), w, w, 9), c.dstPtr = box, c.extent = make_cudaExtent(w, 9, 4);
	c.kind = cudaMemcpyHostToDevice;
	MUST(cudaMemcpy3D(&c));
	c.srcPtr = box, c.dstPtr = make_cudaPitchedPtr(b.data(), w, w, 9), c.kind = cudaMemcpyDeviceToHost;
	MUST(cudaMemcpy3D(&c));
	printf("3D %016llx\n", sum(b.data(), w * 9 * 4));
	MUST(cudaMallocAsync(&r, 100000, s));
	MUST(cudaMemsetAsync(r, 0x5a, 100000, s));
	std::vector<unsigned char> big(100000);
	MUST(cudaMemcpyAsync(big.data(), r, big.size(), cudaMemcpyDeviceToHost, s));
	MUST(cudaFreeAsync(r, s));
	MUST(cudaStreamSynchronize(s));
	printf("pool %016llx\n", sum(big.data(), big.size()));
	MUST(cudaMalloc(&flat, 3000000));
	std::vector<unsigned char> large(3000000);
	for (size_t i = 0; i < large.size(); i++)
		large[i] = i >> 5;
	MUST(cudaHostRegister(large.data(), large.size(), cudaHostRegisterDefault));
	MUST(cudaMemcpyAsync(flat, large.data(), large.size(), cudaMemcpyHostToDevice, s));
	MUST(cudaStreamSynchronize(s));
	MUST(cudaHostUnregister(large.data()));
	printf("large %016llx\n", device_sum(flat, large.size()));
	cudaPointerAttributes at;
	MUST(cudaPointerGetAttributes(&at, flat));
	printf("type %d\n", at.type);
	printf("free twice: %s, then %s\n", cudaGetErrorName(cudaFree(flat)), cudaGetErrorName(cudaFree(flat)));
	cudaGetLastError();
	MUST(cudaFreeHost(pinned));
}

static void questions()
{
	int blocks = 0, grid = 0, block = 0;
	cudaFuncAttributes f;
	cudaDeviceProp prop;

	MUST(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, product, 256, 0));
	MUST(cudaOccupancyMaxPotentialBlockSize(&grid, &block, vector_add, 0, 0));
	MUST(cudaFuncGetAttributes(&f, product));
	MUST(cudaGetDeviceProperties(&prop, 0));
	printf("occupancy %d %d %d, shared %zu, warp %d, name %d\n", blocks, grid, block, f.sharedSizeBytes, prop.warpSize,
	       prop.name[0] != 0);
	step<<<1, 2048>>>(nullptr, 0, 0, 0);
	printf("too many threads: %s\n", cudaGetErrorName(cudaGetLastError()));
	hello<<<1, 1>>>(42);
	MUST(cudaDeviceSynchronize());
	printf("after the kernel's line\n");
	fflush(stdout);
}

static void threads()
{
	const int n = 2000;
	std::vector<std::thread> t;
	unsigned long long sums[8];

	for (int id = 0; id < 8; id++)
		t.emplace_back([id, &sums] {
			unsigned *p;

			MUST(cudaMalloc(&p, n * 4));
			MUST(cudaMemsetAsync(p, id, n * 4, cudaStreamPerThread));
			for (int k = 0; k < 40; k++)
				step<<<(n + 255) / 256, 256, 0, cudaStreamPerThread>>>(p, n, 3, k);
			/* The default stream, too: legacy or per thread, as this was built. */
			MUST(cudaStreamSynchronize(cudaStreamPerThread));
			step<<<(n + 255) / 256, 256>>>(p, n, 5, 7);
			std::vector<unsigned> v(n);
			MUST(cudaMemcpyAsync(v.data(), p, n * 4, cudaMemcpyDeviceToHost));
			MUST(cudaStreamSynchronize(0));
			sums[id] = sum(v.data(), n * 4);
			MUST(cudaFree(p));
		});
	for (auto &x : t)
		x.join();
	for (auto s : sums)
		printf("thread %016llx\n", s);
}

int main()
{
	setvbuf(stdout, nullptr, _IOLBF, 0);
	arithmetic();
	streams();
	graphs();
	memory();
	questions();
	threads();
	MUST(cudaDeviceReset());
	printf("end\n");
	return 0;
}
