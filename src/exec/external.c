/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that device code calls and the system provides: vprintf, malloc,
 * free, __assertfail; those of device-side launch are in child.c.  Arguments lie in the caller's local memory where
 * st.param put them.
 */
#include "exec/warp.h"
#include "exec/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define TEXT_MAX   (1u << 20)
#define STRING_MAX (64u << 10)

enum external external_find(const char *name)
{
	static const struct {
		const char *name;
		enum external what;
	} known[] = {
		{"vprintf", EXT_VPRINTF},
		{"malloc", EXT_MALLOC},
		{"free", EXT_FREE},
		{"__assertfail", EXT_ASSERT},
		/* The device runtime, CUDA C++ Programming Guide, "Dynamic Parallelism"; both spellings. */
		{"cudaGetParameterBufferV2", EXT_CHILD_BUFFER},
		{"cudaLaunchDeviceV2", EXT_CHILD_LAUNCH},
		{"__cudaCDP2GetParameterBufferV2", EXT_CHILD_BUFFER},
		{"__cudaCDP2LaunchDeviceV2", EXT_CHILD_LAUNCH},
		{"__cudaCDP2StreamCreateWithFlags", EXT_CHILD_STREAM},
		{"__cudaCDP2StreamDestroy", EXT_CHILD_DROP},
		{"__cudaCDP2MemcpyAsync", EXT_CHILD_COPY},
		{"__cudaCDP2MemsetAsync", EXT_CHILD_SET},
		{"__cudaCDP2GetLastError", EXT_CHILD_LAST_ERROR},
		{"__cudaCDP2PeekAtLastError", EXT_CHILD_PEEK_ERROR},
		{"__cudaCDP2GetErrorString", EXT_CHILD_ERROR_STRING},
		{"__cudaCDP2GetErrorName", EXT_CHILD_ERROR_NAME},
		{"__cudaCDP2Malloc", EXT_CHILD_MALLOC},
		{"__cudaCDP2Free", EXT_CHILD_FREE},
		{"__cudaCDP2GetDevice", EXT_CHILD_DEVICE},
		{"cudaGraphSetConditional", EXT_CONDITION},
	};
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(known); i++)
		if (!strcmp(name, known[i].name))
			return known[i].what;
	return EXT_NONE;
}

void arg_bytes(struct warp *w, const struct call_site *s, uint32_t i, uint32_t lane, void *to, size_t n)
{
	const struct call_arg *a;

	memset(to, 0, n);
	if (i >= s->nargs)
		return;
	a = &s->args[i];
	if (a->reg_from != SLOT_NONE)
		memcpy(to, (char *)slot(w, a->reg_from) + (size_t)lane * a->reg_size,
		       a->reg_size > n ? n : a->reg_size);
	else
		memcpy(to, w->local + (size_t)lane * w->cta->local_stride + w->frame->local_at + a->from,
		       a->size > n ? n : a->size);
}

static uint64_t arg_read(struct warp *w, const struct call_site *s, uint32_t i, uint32_t lane)
{
	uint64_t v;

	arg_bytes(w, s, i, lane, &v, sizeof(v));
	return v;
}

static void ret_write(struct warp *w, const struct call_site *s, uint32_t lane, uint64_t v)
{
	const struct call_arg *a = s->rets;
	uint32_t n;

	if (!s->nrets)
		return;
	n = a->size > 8 ? 8 : a->size;
	if (a->reg_from != SLOT_NONE)
		memcpy((char *)slot(w, a->reg_from) + (size_t)lane * a->reg_size, &v,
		       a->reg_size > 8 ? 8 : a->reg_size);
	else
		memcpy(w->local + (size_t)lane * w->cta->local_stride + w->frame->local_at + a->from, &v, n);
}

/* A NUL-terminated string of device memory; empty for a null pointer. */
static void string_read(struct warp *w, uint32_t lane, uint64_t addr, struct mp_buf *b)
{
	uint32_t n;

	if (!addr) {
		mp_buf_puts(b, "(null)");
		return;
	}
	for (n = 0; n < STRING_MAX; n++) {
		char c = *warp_translate(w, lane, addr + n, 1, false);

		if (!c)
			return;
		mp_buf_add(b, &c, 1);
	}
}

struct format {
	struct warp *w;
	uint32_t lane;
	uint64_t args; /* generic address of the next argument */
	uint32_t taken;
};

/* Arguments lie at multiples of their size, as in a C struct. */
static uint64_t next_arg(struct format *f, unsigned size)
{
	uint64_t v = 0;

	f->args = mp_align_up(f->args, size);
	memcpy(&v, warp_translate(f->w, f->lane, f->args, size, false), size);
	f->args += size;
	f->taken++;
	return v;
}

/* One conversion that begins after '%'; returns what follows it. */
static const char *conversion(struct format *f, const char *p, struct mp_buf *out)
{
	char spec[48] = "%", conv;
	size_t n = 1;
	unsigned size = 4, half = 0;
	uint64_t v;
	double d;
	struct mp_buf text;

	for (; *p && strchr("-+ #0123456789.*", *p); p++) {
		if (n > 30)
			return p;
		if (*p == '*')
			n += (size_t)snprintf(spec + n, sizeof(spec) - n, "%d", (int)next_arg(f, 4));
		else
			spec[n++] = *p;
		if (n > 34)
			return p;
	}
	for (; *p && strchr("hlLzjtq", *p); p++) {
		if (*p == 'h')
			half++;
		else
			size = 8;
	}
	conv = *p;
	if (!conv)
		return p;
	spec[n] = 0;
	switch (conv) {
	case '%':
		mp_buf_puts(out, "%");
		break;
	case 'd': case 'i':
		v = next_arg(f, size);
		snprintf(spec + strlen(spec), sizeof(spec) - strlen(spec), "lld");
		mp_buf_printf(out, spec, size == 8 ? (long long)v : half == 1 ? (short)v :
			      half > 1 ? (signed char)v : (long long)(int32_t)v);
		break;
	case 'u': case 'x': case 'X': case 'o':
		v = next_arg(f, size);
		if (half)
			v &= half == 1 ? 0xffff : 0xff;
		n = strlen(spec);
		snprintf(spec + n, sizeof(spec) - n, "ll%c", conv);
		mp_buf_printf(out, spec, (unsigned long long)v);
		break;
	case 'c':
		v = next_arg(f, 4);
		snprintf(spec + strlen(spec), sizeof(spec) - strlen(spec), "c");
		mp_buf_printf(out, spec, (int)v);
		break;
	case 'p':
		v = next_arg(f, 8);
		n = strlen(spec);
		snprintf(spec + strlen(spec), sizeof(spec) - strlen(spec), "p");
		mp_buf_printf(out, spec, (void *)(uintptr_t)v);
		break;
	case 's':
		v = next_arg(f, 8);
		mp_buf_init(&text, STRING_MAX + 16);
		string_read(f->w, f->lane, v, &text);
		snprintf(spec + strlen(spec), sizeof(spec) - strlen(spec), "s");
		mp_buf_printf(out, spec, text.data ? text.data : "");
		mp_buf_fini(&text);
		break;
	case 'f': case 'F': case 'e': case 'E': case 'g': case 'G': case 'a': case 'A':
		v = next_arg(f, 8);
		memcpy(&d, &v, 8);
		n = strlen(spec);
		snprintf(spec + n, sizeof(spec) - n, "%c", conv);
		mp_buf_printf(out, spec, d);
		break;
	default:
		mp_buf_puts(out, spec);
		mp_buf_add(out, &conv, 1);
	}
	return p + 1;
}

static void print(struct warp *w, const struct mp_buf *b)
{
	const struct mp_exec_space *s = w->cta->grid->space;

	if (s->print && b->len)
		s->print(s->arg, b->data, b->len);
}

/* A fault in here leaves by a jump: what the buffers hold is lost, and the context with it. */
static void do_printf(struct warp *w, const struct call_site *s, uint32_t lane)
{
	struct format f = {.w = w, .lane = lane};
	struct mp_buf fmt, out;
	const char *p, *q;

	if (s->nargs != 2)
		return;
	mp_buf_init(&fmt, STRING_MAX + 16);
	mp_buf_init(&out, TEXT_MAX);
	string_read(w, lane, arg_read(w, s, 0, lane), &fmt);
	f.args = arg_read(w, s, 1, lane);
	for (p = fmt.data ? fmt.data : ""; *p; p = q) {
		q = strchrnul(p, '%');
		mp_buf_add(&out, p, (size_t)(q - p));
		if (*q)
			q = conversion(&f, q + 1, &out);
	}
	print(w, &out);
	ret_write(w, s, lane, f.taken);
	mp_buf_fini(&fmt);
	mp_buf_fini(&out);
}

/* __assertfail(message, file, line, function, char size): says so and ends the grid (710). */
static void do_assert(struct warp *w, const struct call_site *s, uint32_t lane)
{
	const struct mp_exec_space *space = w->cta->grid->space;
	struct mp_buf part[3], out;
	static const uint32_t which[3] = {1, 3, 0};
	int i;

	if (s->nargs < 4)
		warp_fault(w, lane, MP_EXEC_ASSERT, 0);
	mp_buf_init(&out, TEXT_MAX);
	for (i = 0; i < 3; i++) {
		mp_buf_init(&part[i], STRING_MAX + 16);
		string_read(w, lane, arg_read(w, s, which[i], lane), &part[i]);
	}
	mp_buf_printf(&out, "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n",
		      part[0].data ? part[0].data : "", (unsigned)arg_read(w, s, 2, lane),
		      part[1].data ? part[1].data : "", w->cta->id[0], w->cta->id[1], w->cta->id[2],
		      w->tid[0][lane], w->tid[1][lane], w->tid[2][lane], part[2].data ? part[2].data : "");
	if (space->print_error)
		space->print_error(space->arg, out.data ? out.data : "", out.len);
	else
		print(w, &out);
	for (i = 0; i < 3; i++)
		mp_buf_fini(&part[i]);
	mp_buf_fini(&out);
}

void call_external(struct warp *w, const struct op *o, const struct call_site *s)
{
	const struct mp_exec_space *space = w->cta->grid->space;
	uint32_t l;

	for (l = 0; l < LANES; l++) {
		if (!(w->mask >> l & 1))
			continue;
		switch (s->external) {
		case EXT_VPRINTF:
			do_printf(w, s, l);
			break;
		case EXT_MALLOC:
			ret_write(w, s, l, s->nargs ? heap_get(space, arg_read(w, s, 0, l)) : 0);
			break;
		case EXT_FREE:
			if (s->nargs)
				heap_put(space, arg_read(w, s, 0, l));
			break;
		case EXT_ASSERT:
			do_assert(w, s, l);
			break;
		case EXT_CONDITION:
			/* cudaGraphSetConditional(handle, value); a handle of nobody changes nothing. */
			if (space->condition)
				space->condition(space->arg, arg_read(w, s, 0, l), (uint32_t)arg_read(w, s, 1, l));
			break;
		default:
			ret_write(w, s, l, child_call(w, s, l));
		}
	}
	if (s->external == EXT_ASSERT)
		warp_fault(w, (uint32_t)__builtin_ctz(w->mask), MP_EXEC_ASSERT, 0);
	(void)o;
}
