/* SPDX-License-Identifier: Apache-2.0 */
/* The release, as the build states it once. */
#ifndef MP_BASE_VERSION_H
#define MP_BASE_VERSION_H

#define MP_VERSION MP_VERSION_TEXT

#endif
