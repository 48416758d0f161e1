/* shim.h - plugins as other minors of the SDK would have built them: the tables are laid out by hand, with elements of
 * another size than this SDK's, and the host has to walk them by the sizes that the plugin states. */
#include <stagemill/stage.h>

#include <fcntl.h>
#include <unistd.h>

/* Tells tests that code of this plugin ran: a file named after it. */
static void shim_mark(const char *name) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s.ran", SHIM_MARKS, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd >= 0) close(fd);
}

/* Writes what it was given, so that a test sees whether parameters and results went through. */
static sm_status shim_run(sm_task *task) {
  const char *word = sm_param_text(task, "word"), *path = sm_output_path(task, "out", "word.txt");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file || fprintf(file, "%s %lld\n", word, (long long)sm_param_int(task, "count")) < 0 || fclose(file) != 0)
    return sm_fail(task, SM_RETRY, NULL, "word.txt cannot be written");
  sm_result_text(task, "said", word);
  sm_result_int(task, "times", sm_param_int(task, "count"));
  return sm_output(task, "out", "word.txt", NULL, NULL);
}

/* Note and symbol with everything written out. */
#define SHIM_PLUGIN(id_, major_, minor_, lowest_, stage_size_, param_size_, port_size_, result_size_, stages_)         \
  __attribute__((section(".note.stagemill"), used, aligned(4))) static const sm_note shim_note = {                     \
    10,                                                                                                                \
    (uint32_t)(sizeof(sm_note) - offsetof(sm_note, abi_major)),                                                        \
    SM_NOTE_TYPE,                                                                                                      \
    SM_NOTE_OWNER,                                                                                                     \
    major_,                                                                                                            \
    minor_,                                                                                                            \
    lowest_,                                                                                                           \
    0,                                                                                                                 \
    0,                                                                                                                 \
    0,                                                                                                                 \
    id_};                                                                                                              \
  extern SM_EXPORT const sm_plugin stagemill_plugin;                                                                   \
  SM_EXPORT const sm_plugin stagemill_plugin = {(uint32_t)sizeof(sm_plugin),                                           \
                                                major_,                                                                \
                                                minor_,                                                                \
                                                lowest_,                                                               \
                                                0,                                                                     \
                                                stage_size_,                                                           \
                                                param_size_,                                                           \
                                                port_size_,                                                            \
                                                result_size_,                                                          \
                                                id_,                                                                   \
                                                "1.0.0",                                                               \
                                                "MIT",                                                                 \
                                                (const sm_stage *)(const void *)stages_}
