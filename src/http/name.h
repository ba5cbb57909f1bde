/* SPDX-License-Identifier: Apache-2.0 */
/* The name that every server's certificate carries and every client checks. */
#ifndef MP_HTTP_NAME_H
#define MP_HTTP_NAME_H

#define MP_HTTP_SERVER_NAME "motorpool-server"

#endif
