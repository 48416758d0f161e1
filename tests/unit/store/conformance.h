/* conformance.h - the parts of the suite that every implementation of store.h must pass. */
#pragma once
#include "scene.h"

#define PROVES(test) cmocka_unit_test_setup_teardown(test, scene_begin, scene_end)

int run_verbs(void);
int run_fences(void);
int run_reads(void);
int run_care(void);
int run_sides(void);
int run_totals(void);
