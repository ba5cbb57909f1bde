/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as text and as the kernel wants them. */
#include "net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static int parse_unix(const char *path, struct mp_addr *ret, struct mp_fail *f)
{
	size_t n = strlen(path);

	if (!n || n >= sizeof(ret->u.un.sun_path))
		return mp_fail_set(f, EINVAL, "the socket path \"%s\" must have 1 to %zu bytes",
				   path, sizeof(ret->u.un.sun_path) - 1);
	ret->u.un.sun_family = AF_UNIX;
	memcpy(ret->u.un.sun_path, path, n + 1);
	ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

static int resolve(const char *host, const char *port, struct mp_addr *ret, struct mp_fail *f)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	int e = getaddrinfo(host, port, &hints, &list);

	if (e == EAI_NONAME) {
		hints.ai_flags = AI_NUMERICSERV;
		e = getaddrinfo(host, port, &hints, &list);
	}
	if (e || !list)
		return mp_fail_set(f, EINVAL, "the host \"%s\" cannot be found: %s", host,
				   e ? gai_strerror(e) : "no address");
	assert(list->ai_addrlen <= sizeof(ret->u));
	memcpy(&ret->u, list->ai_addr, list->ai_addrlen);
	ret->len = list->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

int mp_addr_parse(const char *text, struct mp_addr *ret, struct mp_fail *f)
{
	char host[256], *end;
	const char *colon;
	size_t n;
	unsigned long port;

	memset(ret, 0, sizeof(*ret));
	if (!strncmp(text, "unix:", 5))
		return parse_unix(text + 5, ret, f);
	colon = strrchr(text, ':');
	n = colon ? (size_t)(colon - text) : 0;
	if (!colon || !n || n >= sizeof(host))
		return mp_fail_set(f, EINVAL, "the address \"%s\" is not HOST:PORT or unix:PATH", text);
	errno = 0;
	port = strtoul(colon + 1, &end, 10);
	if (end == colon + 1 || *end || port > 65535 || errno)
		return mp_fail_set(f, EINVAL, "the port of \"%s\" is not a number up to 65535", text);
	if (text[0] == '[' && text[n - 1] == ']' && n > 2) {
		memcpy(host, text + 1, n - 2);
		host[n - 2] = 0;
	} else {
		memcpy(host, text, n);
		host[n] = 0;
	}
	return resolve(host, colon + 1, ret, f);
}

void mp_addr_text(const struct mp_addr *a, char *buf, size_t size)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	switch (a->u.sa.sa_family) {
	case AF_UNIX:
		snprintf(buf, size, "unix:%s", a->u.un.sun_path);
		break;
	case AF_INET:
		inet_ntop(AF_INET, &a->u.in.sin_addr, ip, sizeof(ip));
		snprintf(buf, size, "%s:%u", ip, ntohs(a->u.in.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->u.in6.sin6_addr, ip, sizeof(ip));
		snprintf(buf, size, "[%s]:%u", ip, ntohs(a->u.in6.sin6_port));
		break;
	default:
		snprintf(buf, size, "?");
	}
}
