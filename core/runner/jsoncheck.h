/* jsoncheck.h - is a text one JSON object? The runner links no JSON library: a plugin may bring its own. */
#pragma once
#include <stdbool.h>

bool json_is_object(const char *text);
