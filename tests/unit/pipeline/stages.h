/* stages.h - stage types for tests, written as plugins write them and copied out as a test load does. */
#pragma once
#include "base/stagetype.h"

/* probe thumbnail watermark mono hls upload fetch flaky burn muxer pair note: see stages.c. Owned. */
struct stage_set *test_stages(void);
