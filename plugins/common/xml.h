/* xml.h - as much XML as S3's answers need: text of elements by name, in bounded time. No entities of its own, no DTD. */
#pragma once
#include <stddef.h>

#include "common/text.h"

/* Text of the first element `name` in the range, with &amp; and friends decoded; false when there is none. */
bool xml_text(const char *xml, size_t size, const char *name, struct text *out);
/* Inner range of the next element `name` at or after *at, which moves behind it; NULL when there is none. */
const char *xml_next(const char *xml, size_t size, const char *name, size_t *at, size_t *inner_size);
