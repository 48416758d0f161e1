/* value_parts.h - for the files that build value trees inside base; not for other modules. */
#pragma once
#include "base/value.h"

/* Adds a key that is known to be new, without searching for it. Moves the item in. */
void value_map_append(struct value *map, const char *key, struct value *moved);
