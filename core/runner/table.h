/* table.h - a plugin's tables, copied row by row into this build's layout. The plugin's stride decides where a row
 * begins; what its rows lack reads as zero, what they have beyond ours is ignored. */
#pragma once
#include <stagemill/abi.h>

#include "base/error.h"

enum { TABLE_ROWS_MAX = 256, TABLE_STRIDE_MAX = 4096, TABLE_DEPTH_MAX = 4 };

/* All stages with their tables; *stages is ended by a NULL name and lives as long as the process. */
enum err table_stages(const sm_plugin *plugin, const char *path, sm_stage **stages, size_t *count, struct error *e);
/* Rows until the one without a name. NULL: an empty table. */
size_t table_param_count(const sm_param *rows);
size_t table_port_count(const sm_port *rows);
size_t table_result_count(const sm_result *rows);
const sm_param *table_param(const sm_param *rows, const char *name);
const sm_port *table_port(const sm_port *rows, const char *name);
const sm_result *table_result(const sm_result *rows, const char *key);
