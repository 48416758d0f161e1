/* A plugin with something wrong (or unusual) about its note, symbol or tables; -DVARIANT_... says what. Its constructor
 * leaves a mark, so that a test can see whether any code of it ran. */
#include <fcntl.h>
#include <unistd.h>

#include <stagemill/stage.h>

__attribute__((constructor)) static void leave_mark(void) {
  int fd = open(MARK, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd >= 0) close(fd);
}

#ifndef V_MAJOR
#define V_MAJOR SM_ABI_MAJOR
#endif
#ifndef V_MINOR
#define V_MINOR SM_ABI_MINOR
#endif
#ifndef V_LOWEST
#define V_LOWEST 0
#endif
#ifndef V_AVUTIL
#define V_AVUTIL 0
#endif
#ifndef V_AVCODEC
#define V_AVCODEC 0
#endif
#ifndef V_ID
#define V_ID "test.variant"
#endif
#ifndef V_SYMBOL_ID
#define V_SYMBOL_ID V_ID
#endif
#ifndef V_SYMBOL_MINOR
#define V_SYMBOL_MINOR V_MINOR
#endif
#ifndef V_DESC_SIZE
#define V_DESC_SIZE (sizeof(sm_note) - offsetof(sm_note, abi_major))
#endif
#ifndef V_NAME
#define V_NAME "variant"
#endif

/* Rows as an older (fewer fields) or a newer (more fields) SDK would have them. */
#if defined(V_SMALLER)
typedef struct param_row {
  const char *name;
  uint32_t takes, flags;
  const char *fallback, *choices;
  double min, max;
} param_row; /* no unit, no fields, no summary */
#define ROW(name, fallback) {name, SM_TAKES_TEXT, 0, fallback, NULL, 0, 0}
typedef struct result_row {
  const char *key;
  uint32_t type, available;
} result_row;
#define RESULT_ROW(key) {key, SM_RESULT_TYPE_TEXT, SM_AT_END}
typedef struct port_row {
  const char *name;
  uint32_t kind, flags;
  const char *types;
} port_row;
#elif defined(V_LARGER)
typedef struct param_row {
  sm_param now;
  const char *later;
  uint64_t more[5];
} param_row;
#define ROW(name, fallback) {{name, SM_TAKES_TEXT, 0, fallback, NULL, 0, 0, NULL, NULL, "text"}, "later", {1, 2, 3, 4, 5}}
typedef struct result_row {
  sm_result now;
  uint64_t later;
} result_row;
#define RESULT_ROW(key) {{key, SM_RESULT_TYPE_TEXT, SM_AT_END, 0, NULL, "text"}, 77}
typedef struct port_row {
  sm_port now;
  const char *later[3];
} port_row;
#else
typedef sm_param param_row;
#define ROW(name, fallback) {name, SM_TAKES_TEXT, 0, fallback, NULL, 0, 0, NULL, NULL, "text"}
typedef sm_result result_row;
#define RESULT_ROW(key) {key, SM_RESULT_TYPE_TEXT, SM_AT_END, 0, NULL, "text"}
typedef sm_port port_row;
#endif

/* The row behind the last one is zero, which ends a table. */
static const param_row params[4] __attribute__((unused)) = {ROW("first", "one"), ROW("second", "two"), ROW("third", "three")};
static const port_row ports[1] __attribute__((unused));
static const result_row results[3] __attribute__((unused)) = {RESULT_ROW("first"), RESULT_ROW("second")};

__attribute__((unused)) static sm_status variant_run(sm_task *task) {
  sm_result_text(task, "first", sm_param_text(task, "third"));
  sm_result_text(task, "second", sm_param_text(task, "first"));
  return SM_OK;
}

typedef struct stage_row {
  sm_stage now;
#ifdef V_LARGER
  uint64_t later[4];
#endif
} stage_row;

static const stage_row stages[] = {
#ifdef V_NO_RUN
  {.now = {.name = V_NAME, .summary = "text", .kind = SM_KIND_TASK}},
#elif defined(V_BAD_KIND)
  {.now = {.name = V_NAME, .summary = "text", .kind = 99, .run = variant_run}},
#elif !defined(V_NO_STAGES)
  {.now = {.name = V_NAME, .summary = "text", .kind = SM_KIND_TASK, .params = (const sm_param *)params,
           .inputs = (const sm_port *)ports, .outputs = (const sm_port *)ports, .results = (const sm_result *)results,
           .run = variant_run}},
#endif
#ifdef V_ENDLESS
#define E1 {.now = {.name = "endless", .kind = SM_KIND_TASK, .run = variant_run}},
#define E8 E1 E1 E1 E1 E1 E1 E1 E1
#define E64 E8 E8 E8 E8 E8 E8 E8 E8
  E64 E64 E64 E64 E64
#endif
  {.now = {.name = NULL}},
};

#ifndef V_NO_NOTE
#define NOTE(name)                                                                                                     \
  __attribute__((section(".note.stagemill"), used, aligned(4))) static const sm_note name = {                          \
    10, (uint32_t)V_DESC_SIZE, SM_NOTE_TYPE, SM_NOTE_OWNER, V_MAJOR, V_MINOR, V_LOWEST, 0, V_AVUTIL, V_AVCODEC, V_ID}
NOTE(note);
#ifdef V_TWO_NOTES
NOTE(second_note);
#endif
#endif

#ifndef V_STRIDE
#define V_STRIDE sizeof(stage_row)
#endif

#ifndef V_NO_SYMBOL
extern SM_EXPORT const sm_plugin stagemill_plugin;
const SM_EXPORT sm_plugin stagemill_plugin = {
  sizeof(sm_plugin), V_MAJOR, V_SYMBOL_MINOR, V_LOWEST, 0, V_STRIDE, sizeof(param_row), sizeof(port_row),
  sizeof(result_row), V_SYMBOL_ID, "1.0.0", "MIT", (const sm_stage *)stages};
#else
extern SM_EXPORT const stage_row *unused_stages;
const SM_EXPORT stage_row *unused_stages = stages;
#endif
