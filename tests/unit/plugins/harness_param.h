/* harness_param.h - what sm_param_value() answers in a test. */
#pragma once
#include "harness.h"

sm_value harness_value(const struct harness *h, const char *path);
