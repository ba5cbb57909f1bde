/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a program finds its lease: environment variables that `motorpool run`
 * sets and that the drop-in reads at cuInit.  Header only: names and formats.
 *
 *	MOTORPOOL_DATA		where the server takes data lanes; a comma-separated
 *				list that is tried in order:
 *				ADDR:PORT, [IPV6]:PORT, or unix:PATH
 *	MOTORPOOL_SECRET	the secret of the lease, 64 hexadecimal digits
 *	MOTORPOOL_LEASE		the lease's name: 16 hexadecimal digits
 *	MOTORPOOL_SERVER	ADDR:PORT of the server's HTTPS API (for the CLI; the
 *				drop-in has no use for it)
 *	MOTORPOOL_DEVICES	number of devices of the lease, decimal
 *
 * Without MOTORPOOL_DATA and MOTORPOOL_SECRET there is no device: cuInit
 * answers CUDA_ERROR_NO_DEVICE and the log says why.  A program that a joined
 * program starts inherits all of it and joins the same lease.
 *
 * The secret is readable by the same user in /proc/PID/environ, as a token file
 * is; it opens one lease and dies with it.
 */
#ifndef MP_CLIENT_ENV_H
#define MP_CLIENT_ENV_H

#define MP_ENV_DATA	"MOTORPOOL_DATA"
#define MP_ENV_SECRET	"MOTORPOOL_SECRET"
#define MP_ENV_LEASE	"MOTORPOOL_LEASE"
#define MP_ENV_SERVER	"MOTORPOOL_SERVER"
#define MP_ENV_DEVICES	"MOTORPOOL_DEVICES"

/* Read by the CLI only. */
#define MP_ENV_BUNDLE	"MOTORPOOL_BUNDLE" /* directory of ca.crt, token, servers */
#define MP_ENV_LIBDIR	"MOTORPOOL_LIBDIR" /* where the drop-in libraries are */

#define MP_SECRET_BYTES 32 /* of the lease's secret, before hexadecimal */
#define MP_LEASE_DIGITS 16

#endif
