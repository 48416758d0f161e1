/* base64url.h - base64 with the URL alphabet and without padding (RFC 4648 section 5), as JWTs are written. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

void base64url_add(struct buf *out, const void *data, size_t size);
/* Strict: the alphabet alone, no padding, no bits left over, so that one content has one text. Appends to out. */
bool base64url_read(const char *text, size_t size, struct buf *out);
