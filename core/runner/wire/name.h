/* name.h - which relative names an artifact may have. Checked by the attempt (a clear sentence for the author) and
 * again by the engine (which believes nothing). */
#pragma once

enum { ARTIFACT_NAME_MAX = 1024, ARTIFACT_PART_MAX = 255, ARTIFACT_DEPTH_MAX = 16 };

/* NULL when `name` is a clean relative path; else what is wrong with it ("is absolute"). */
const char *artifact_name_problem(const char *name);
